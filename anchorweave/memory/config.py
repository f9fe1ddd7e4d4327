"""MemoryConfig: which memory system remembers, and the options of each that is registered."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, make_dataclass
from functools import lru_cache
from typing import Literal

from anchorweave.memory.registry import MEMORIES

# Options that came later than the first clips and videos, and what was done before there were any:
# at that they go unmentioned in what a file was made with, so that older files are not stale.
ADDED_LATER = {
    "memory.limit": None,
    "memory.evict": "least_unique",
    "memory.global_cloud.choose": "overlap",
    "memory.global_cloud.preceding": 0,
    "pixels": "video",
    "split.step": None,
    "recording.depth_scale": None,
    "recording.intrinsics": None,
    "recording.order": "auto",
    "recording.field_of_view": None,
    "recording.min_confidence": None,
}


@dataclass(frozen=True)
class MemoryConfig:
    """Which memory system remembers, and how.

    Beside the fields below there is a section for every system of `MEMORIES` that has options, by
    the system's name: an instance is one of a subclass with these sections.

    Args:
        kind: the system.
        path: folder of the memory bank; null = a new one inside the run's output folder.
        limit: retrieval chooses from at most so many frames, of `local_clouds` alone; null = from
            all. The bank keeps all of them (ours; not in the papers).
        evict: which frame goes where one is too many: the one of `least_unique` coverage, whose
            view the others show best, or the `oldest`.
        depth_edge: points at a relative step in depth above this are dropped when a memory is
            rendered: they float between two surfaces (not given in the paper).
    """

    kind: str = "local_clouds"
    path: str | None = None
    limit: int | None = None
    evict: Literal["least_unique", "oldest"] = "least_unique"
    depth_edge: float = 0.04

    def __new__(cls, *args, **kwargs):
        """An instance with a section for each system that is registered now."""
        options = tuple((name, system.options) for name, system in MEMORIES.items())
        return object.__new__(_with_sections(options) if cls is MemoryConfig else cls)

    def __post_init__(self):
        if self.limit is None:
            return
        if self.limit < 1:
            raise ValueError(f"memory.limit={self.limit}: is a number of frames, at least 1")
        if self.kind != "local_clouds":
            raise ValueError(
                f"memory.limit={self.limit}: memory={self.kind} chooses from all it keeps; a limit "
                "is of memory=local_clouds"
            )

    def __reduce__(self):
        """Made again from its values: the subclass has no name that another process knows."""
        return _rebuilt, ({field.name: getattr(self, field.name) for field in fields(self)},)


@lru_cache
def _with_sections(options: tuple[tuple[str, type | None], ...]) -> type[MemoryConfig]:
    """MemoryConfig with a section of options for each system (name, dataclass) that has any."""
    kinds = Literal[tuple(name for name, _ in options)]
    sections = [
        (name, section, field(default_factory=section)) for name, section in options if section
    ]
    return make_dataclass(
        "MemoryConfig",
        [("kind", kinds, "local_clouds"), *sections],
        bases=(MemoryConfig,),
        namespace={"__doc__": MemoryConfig.__doc__, "__module__": __name__},
        frozen=True,
    )


def _rebuilt(values: dict) -> MemoryConfig:
    return MemoryConfig(**values)
