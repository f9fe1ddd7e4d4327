"""MapAndKeyframes: SPMem's memory, a static map, key frames and the last frames.

Keeps three kinds of past (SPMem, 2506.05284). Long-term spatial memory: all remembered frames fused
into one TSDF map, in which inconsistent depth averages out. Episodic memory: key frames, each of
which revealed enough of the scene when it was added. Working memory: the last frames. The map is
rendered along the target cameras as the only anchor; the frames are references. The bank holds no
depth on moving objects; those that perception missed average out.

Costs 20 bytes of main memory per voxel near a surface, about 100 MB for a room at 2 cm, and a
coarse depth map per key frame; only the bank is saved. An update rereads earlier frames that see a
newly observed part of the scene.

The paper gives neither the threshold for key frames nor how many are passed to the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.tsdf import TsdfMap
from anchorweave.memory.bank import Bank
from anchorweave.memory.config import MemoryConfig
from anchorweave.memory.one_cloud import OneCloud
from anchorweave.memory.references import Chosen, coarse_view, last_frames
from anchorweave.progress import progress
from anchorweave.rendering.anchor_video import RenderConfig
from anchorweave.rendering.point_splat import Splat
from anchorweave.retrieval import RetrievalConfig
from anchorweave.retrieval.key_frames import (
    KeyFrames,
    by_marginal_overlap,
    most_revealing,
    overlap_with,
)

# Number of depth maps cached while a clip is fused, which reads them several times.
DEPTH_KEPT = 64


@dataclass(frozen=True)
class MapAndKeyframesConfig:
    """Options of `map_and_keyframes`.

    Args:
        voxel: side of the map's voxels, in the recording's unit (SPMem's released code: 0.02).
        cap: maximum number of voxels along the scene's largest dimension; voxels grow in larger
            scenes (SPMem: 1200).
        min_weight: minimum number of frames that observed the voxels around a surface (SPMem drops
            those of low confidence; not given in the paper). At 1, a surface seen by a single frame
            stays unless another frame sees through it.
        splat_radius: radius of the map's points, overriding `rendering.splat_radius`, because they
            are a voxel apart, which is more than a pixel (SPMem's released code: 0.008 of half the
            image, 2 pixels at 480).
        episodic: maximum number of key frames as references (SPMem's released code: 10); 0 = none.
        min_revealed: a frame becomes a key frame if more than this fraction of its pixels shows
            something that no key frame did (not given in the paper).
        depth_tolerance: relative depth difference up to which two frames see the same surface (not
            given in the paper).
        choose: which key frames are used: revealed takes those that revealed most when added;
            frustum those that add most to the overlap with the target's views, as in SPMem's
            released code. The paper gives no rule.
        min_overlap: a key frame must contain at least this fraction of the frustum of some target
            frame; only for `choose: frustum` (SPMem's released code: 0.3).
        working: number of last frames as references (SPMem: 5); 0 = none.

    Raises:
        ValueError: a value out of range.
    """

    voxel: float = 0.02
    cap: int = 1200
    min_weight: int = 1
    splat_radius: int = 2
    episodic: int = 10
    min_revealed: float = 0.25
    depth_tolerance: float = 0.05
    choose: Literal["revealed", "frustum"] = "revealed"
    min_overlap: float = 0.3
    working: int = 5

    def __post_init__(self):
        where = "memory.map_and_keyframes"
        if not 0 < self.voxel < float("inf"):
            raise ValueError(f"{where}.voxel must be a length above 0, got {self.voxel}")
        lowest = {"cap": 1, "min_weight": 1, "splat_radius": 0, "episodic": 0, "working": 0}
        for name, low in lowest.items():
            if getattr(self, name) < low:
                raise ValueError(f"{where}.{name} must be {low} or more, got {getattr(self, name)}")
        for name in ("min_revealed", "depth_tolerance", "min_overlap"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{where}.{name} must be in [0, 1], got {getattr(self, name)}")
        if self.choose not in ("revealed", "frustum"):
            raise ValueError(f"{where}.choose must be revealed or frustum, got {self.choose!r}")


class MapAndKeyframes(OneCloud):
    """A TSDF map, episodic key frames and working memory (SPMem, 2506.05284).

    References are in the order of the bank: key frames, then the last frames, which are reported as
    forced. A key frame among the last frames is returned once, as one of those.

    Args:
        bank: the frames on disk.
        config: how frames are cleaned and fused, and how many are returned.
        retrieval: only `downscale` is read: the resolution at which key frames are judged and
            covered pixels are counted.
        rendering: how the map is drawn; the memory's own `splat_radius` overrides its.
    """

    options = MapAndKeyframesConfig

    def __init__(
        self,
        bank: Bank,
        config: MemoryConfig | None = None,
        retrieval: RetrievalConfig | None = None,
        rendering: RenderConfig | None = None,
    ):
        super().__init__(bank, config, retrieval, rendering)
        options = self.config.map_and_keyframes
        self.rendering = replace(self.rendering, splat_radius=options.splat_radius)
        self.map = TsdfMap(options.voxel, options.cap)
        self.key_frames = KeyFrames(options.min_revealed, options.depth_tolerance)
        self.cloud = self.map.cloud(options.min_weight)
        self._looked_at = 0
        self._fuse()

    @classmethod
    def gives_at_most(cls, config: MemoryConfig, retrieval: RetrievalConfig) -> tuple[int, int]:
        """The map; key frames and the last frames."""
        return 1, config.map_and_keyframes.episodic + config.map_and_keyframes.working

    def may_give(self) -> Sequence[int]:
        """Key frames and the last frames, if any are requested."""
        options = self.config.map_and_keyframes
        key = self.key_frames.numbers if options.episodic else []
        return sorted({*key, *last_frames(self.bank, options.working)})

    def _fuse(self) -> None:
        if len(self.map) == len(self.bank):
            return
        edge = self.config.depth_edge
        depth = lru_cache(DEPTH_KEPT)(lambda number: self.bank.clean_depth(number, edge))
        self.map.grow(self.bank.cameras, depth, self.bank.frame)
        self.cloud = self.map.cloud(self.config.map_and_keyframes.min_weight)
        for number in progress(range(self._looked_at, len(self.bank)), "selecting key frames"):
            view = coarse_view(self.bank, number, edge, self.retrieval.downscale)
            self.key_frames.offer(number, view)
            self._looked_at = number + 1

    def _choose(self, cameras: Cameras, shown: Splat) -> Chosen:
        options, key = self.config.map_and_keyframes, self.key_frames
        last = last_frames(self.bank, options.working)
        pool = sum(number < last.start for number in key.numbers)
        if not pool:
            chosen, stopped = [], "no key frame before the last frames"
        elif options.choose == "revealed":
            chosen, stopped = most_revealing(key.revealed[:pool], options.episodic)
        else:
            overlap = overlap_with(cameras, key.views)[:, :pool]
            chosen, stopped = by_marginal_overlap(overlap, options.episodic, options.min_overlap)
        episodic = tuple(key.numbers[i] for i in chosen)
        return Chosen(episodic, pool, stopped).and_last(last)
