"""MemoryConfig: which memory system remembers, and the options of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class GlobalCloudConfig:
    """Options of `global_cloud`.

    Args:
        voxel: side of the voxels that points are averaged in, in the recording's unit (Spatia
            table 7 and its released code: 0.01 m).
        references: K, at most so many frames are given as they were seen, and every K-th target
            frame asks for one (Spatia: 7); 0 = none.
        min_overlap: a reference must share more than this with the target frame that asks for it,
            as intersection over union (epsilon in Spatia's Algorithm 1; no value given).
        overlap_voxel: side of the voxels that the overlap is counted in, in the recording's unit
            (not given in the paper). Larger than what neighbouring pixels are apart, or one
            surface seen from two distances would not meet itself.

    Raises:
        ValueError: a value out of range.
    """

    voxel: float = 0.01
    references: int = 7
    min_overlap: float = 0.05
    overlap_voxel: float = 0.1

    def __post_init__(self):
        for name in ("voxel", "overlap_voxel"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(
                    f"memory.global_cloud.{name} is a length above 0, met {getattr(self, name)}"
                )
        if self.references < 0:
            raise ValueError(
                f"memory.global_cloud.references must be 0 or more, met {self.references}"
            )
        if not 0 <= self.min_overlap <= 1:
            raise ValueError(
                f"memory.global_cloud.min_overlap is a share in [0, 1], met {self.min_overlap}"
            )


@dataclass(frozen=True)
class MemoryConfig:
    """Which memory system remembers, and how.

    Args:
        kind: the system; `anchorweave.memory.MEMORIES` lists them.
        path: folder of the memory bank; null = a new one inside the run's output folder.
        depth_edge: points at a relative step in depth above this are dropped when a memory is
            rendered: they float between two surfaces. Not given in the paper.
        global_cloud: options of that system.
    """

    kind: Literal["local_clouds", "global_cloud"] = "local_clouds"
    path: str | None = None
    depth_edge: float = 0.04
    global_cloud: GlobalCloudConfig = field(default_factory=GlobalCloudConfig)
