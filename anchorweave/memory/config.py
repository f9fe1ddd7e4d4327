"""MemoryConfig: which memory system is used, and the options of every registered system."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, make_dataclass
from functools import lru_cache
from typing import Literal

from anchorweave.memory.registry import MEMORIES

# Options added after the first clips and videos were made, with values equivalent to the old
# behaviour. At these values they are left out of metadata, so that older files do not become stale.
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
    """Which memory system is used, and its options.

    In addition to the fields below there is a section, named after the system, for every system in
    `MEMORIES` that has options: instances belong to a subclass with these sections.

    Args:
        kind: the memory system.
        path: folder of the memory bank; null = a new one inside the run's output folder.
        limit: retrieval of `local_clouds` chooses from at most this many frames; null = from all.
            The bank keeps all of them (ours; not in the papers).
        evict: which frame to evict beyond the limit: the one with the `least_unique` coverage,
            whose view the other frames show best, or the `oldest`.
        depth_edge: points at a relative depth step above this are dropped before rendering: they
            float between two surfaces (not given in the paper).
    """

    kind: str = "local_clouds"
    path: str | None = None
    limit: int | None = None
    evict: Literal["least_unique", "oldest"] = "least_unique"
    depth_edge: float = 0.04

    def __new__(cls, *args, **kwargs):
        """An instance with a section for each currently registered system."""
        options = tuple((name, system.options) for name, system in MEMORIES.items())
        return object.__new__(_with_sections(options) if cls is MemoryConfig else cls)

    def __post_init__(self):
        if self.limit is None:
            return
        if self.limit < 1:
            raise ValueError(f"memory.limit={self.limit}: must be at least 1 frame")
        if self.kind != "local_clouds":
            raise ValueError(
                f"memory.limit={self.limit}: memory={self.kind} always chooses from all frames; "
                "only memory=local_clouds accepts a limit"
            )

    def __reduce__(self):
        """Pickles by value: the subclass has no importable name."""
        return _rebuilt, ({field.name: getattr(self, field.name) for field in fields(self)},)


@lru_cache
def _with_sections(options: tuple[tuple[str, type | None], ...]) -> type[MemoryConfig]:
    """A subclass of MemoryConfig with a section for each (name, options dataclass)."""
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
