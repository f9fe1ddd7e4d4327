"""CompareConfig: what `inference.compare_geometry` compares, and the rows of its table."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from anchorweave.clip import Clip
from anchorweave.datasets.splits import SplitConfig
from anchorweave.evaluation.contradiction import Check
from anchorweave.memory import MEMORIES, MemoryConfig
from anchorweave.perception import PerceptionConfig
from anchorweave.recordings.config import RecordingConfig
from anchorweave.rendering.anchor_video import RenderConfig
from anchorweave.retrieval import RetrievalConfig


@dataclass(frozen=True)
class CompareConfig:
    """What is compared.

    Args:
        source: a recording; see `recordings.open_recording`.
        missing: what to do with frames that it lists but does not hold.
        recording: overrides for what it states.
        check: what to do with an inconsistent history: `warn`, `error` (reject) or `off`; see
            `evaluation/contradiction.py`.
        output: the folder for the results.
        height: image height in pixels; the width keeps the aspect.
        systems: which memory systems; `anchorweave.memory.MEMORIES` lists them.
        anchors: the numbers K of local memories.
        limits: for each of these, K = max(`anchors`) local memories chosen from at most that many
            frames, for each eviction policy (`memory.limit`, `memory.evict`).
        voxels: additional voxel sides of `global_cloud`, besides `memory.global_cloud.voxel`, in
            the recording's unit (with 0.01: Spatia, table 7).
        voxels_fill: draw `global_cloud`'s points as wide as their voxels at the history's median
            depth, if that exceeds `rendering.splat_radius`; false = always `rendering.splat_radius`
            (not given in the paper).
        gaps: distances in target frames at which a system is compared with itself. At
            `retrieval.chunk` or more, local memories change in between.
        colour_focal: focal length of the colour camera relative to the depth camera's; other than 1
            only if images were not registered (7-Scenes: 525 / 585).
        split: what is history and what is target; `split.kind=later` uses every target frame.

    Raises:
        ValueError: a value out of range, or an unknown system.
    """

    source: str = "data/example_dataset"
    missing: str = "error"
    recording: RecordingConfig = field(default_factory=RecordingConfig)
    check: Check = "warn"
    output: str = "outputs/geometry"
    height: int = 240
    systems: tuple[str, ...] = tuple(MEMORIES)
    anchors: tuple[int, ...] = (1, 2, 4)
    limits: tuple[int, ...] = ()
    voxels: tuple[float, ...] = (0.03, 0.05, 0.07)
    voxels_fill: bool = True
    gaps: tuple[int, ...] = (1, 8)
    colour_focal: float = 1.0
    split: SplitConfig = field(default_factory=lambda: SplitConfig(kind="later"))
    perception: PerceptionConfig = field(default_factory=PerceptionConfig)
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    retrieval: RetrievalConfig = field(default_factory=lambda: RetrievalConfig(forced="none"))
    rendering: RenderConfig = field(default_factory=RenderConfig)

    def __post_init__(self):
        if self.height < 16:
            raise ValueError(f"height={self.height} pixels is too small to compare; 16 or more")
        unknown = [name for name in self.systems if name not in MEMORIES]
        if unknown or not self.systems:
            names = ", ".join(unknown) or "none"
            raise ValueError(f"systems={names}: known are {', '.join(MEMORIES)}")
        if not self.anchors or min(self.anchors) < 1:
            raise ValueError(f"anchors={list(self.anchors)}: give numbers of memories, as [1,2,4]")
        if self.limits and min(self.limits) < 1:
            raise ValueError(f"limits={list(self.limits)}: give numbers of frames, as [16,32]")
        if self.memory.limit is not None:
            raise ValueError("memory.limit: use limits=[...], compared with no limit")
        if not all(0 < voxel < float("inf") for voxel in self.voxels):
            raise ValueError(f"voxels={list(self.voxels)}: give lengths above 0, as [0.03,0.05]")
        if not self.gaps or min(self.gaps) < 1:
            raise ValueError(f"gaps={list(self.gaps)}: give distances in frames, as [1,8]")
        if not 0.5 <= self.colour_focal <= 1:
            raise ValueError(f"colour_focal={self.colour_focal} must be in [0.5, 1]")
        if self.memory.path is not None:
            raise ValueError(
                f"memory.path={self.memory.path}: the history is always remembered from scratch; "
                "remove it"
            )


@dataclass(frozen=True)
class Row:
    """One system with its settings; `told` are those in which rows differ."""

    memory: MemoryConfig
    retrieval: RetrievalConfig
    rendering: RenderConfig
    told: dict[str, Any]


def rows_of(config: CompareConfig, history: Clip) -> dict[str, Row]:
    """The rows of the table by name: those of `ROWS`, and one for any other system."""
    rows: dict[str, Row] = {}
    for kind in dict.fromkeys(config.systems):
        plain = Row(
            replace(config.memory, kind=kind), config.retrieval, config.rendering, {"system": kind}
        )
        rows |= ROWS[kind](plain, config, history) if kind in ROWS else {kind: plain}
    return rows


def _local_rows(plain: Row, config: CompareConfig, history: Clip) -> dict[str, Row]:
    rows = {}
    for count in sorted(set(config.anchors)):
        row = replace(
            plain,
            retrieval=replace(plain.retrieval, anchors=count),
            told={**plain.told, "anchors": count},
        )
        rows[local_name(count)] = row
        for limit in sorted(set(config.limits)):
            for evict in ("least_unique", "oldest"):
                rows[f"{local_name(count)}, {limit} frames, {evict}"] = replace(
                    row,
                    memory=replace(plain.memory, limit=limit, evict=evict),
                    told={**row.told, "limit": limit, "evict": evict},
                )
    return rows


def _fused_rows(plain: Row, config: CompareConfig, history: Clip) -> dict[str, Row]:
    rows = {}
    for voxel in sorted({plain.memory.global_cloud.voxel, *config.voxels}):
        options = replace(plain.memory.global_cloud, voxel=voxel)
        radius = drawn_radius(voxel, history) if config.voxels_fill else 0
        radius = max(radius, plain.rendering.splat_radius)
        rows[fused_name(voxel)] = Row(
            replace(plain.memory, global_cloud=options),
            plain.retrieval,
            replace(plain.rendering, splat_radius=radius),
            {**plain.told, "voxel": voxel, "splat_radius": radius},
        )
    return rows


def _map_rows(plain: Row, config: CompareConfig, history: Clip) -> dict[str, Row]:
    options = plain.memory.map_and_keyframes
    settings = {**plain.told, "voxel": options.voxel, "splat_radius": options.splat_radius}
    return {f"map_and_keyframes {options.voxel:g}": replace(plain, told=settings)}


# System -> its rows, starting with the default settings; systems not listed have only that row.
ROWS = {
    "local_clouds": _local_rows,
    "global_cloud": _fused_rows,
    "map_and_keyframes": _map_rows,
}


def local_name(count: int) -> str:
    """Name of the row of K local memories."""
    return f"local_clouds K={count}"


def fused_name(voxel: float) -> str:
    """Name of the row of the fused cloud with this voxel side."""
    return f"global_cloud {voxel:g}"


def drawn_radius(voxel: float, history: Clip) -> int:
    """The splat radius that covers a voxel at the history's median depth."""
    depth = history.static_depth
    pixels = voxel * history.cameras.K[0, 0, 0] / depth[depth > 0].median()
    return max(round((pixels.item() - 1) / 2), 0)
