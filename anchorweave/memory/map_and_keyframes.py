"""MapAndKeyframes: SPMem's memory, a map of what stands still, key frames and the last frames.

Keeps three kinds of the past (SPMem, 2506.05284). Long-term spatial memory: all remembered frames
fused into one TSDF map, where what frames disagree on drops out. Episodic memory: key frames, each
of which revealed enough of the scene when it came. Working memory: the last frames. The map is
drawn along the target cameras as the one anchor; the others are given as they were seen. The bank
holds no depth for moving things; those that perception took for still are averaged away.

Costs 20 bytes of main memory a voxel near a surface, some 100 MB for a room at 2 cm, and a coarse
depth map a key frame; nothing but the bank is saved. An update reads earlier frames once more where
they see a part of the scene that is new.

The paper gives neither the threshold of a key frame nor how many are given to the network.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.tsdf import TsdfMap
from anchorweave.memory.bank import Bank
from anchorweave.memory.config import MemoryConfig
from anchorweave.memory.one_cloud import OneCloud
from anchorweave.memory.references import Chosen, coarse_view, last_frames
from anchorweave.progress import slowly
from anchorweave.rendering.anchor_video import RenderConfig
from anchorweave.rendering.point_splat import Splat
from anchorweave.retrieval import RetrievalConfig
from anchorweave.retrieval.key_frames import (
    KeyFrames,
    by_marginal_overlap,
    most_revealing,
    overlap_with,
)

# A clip's depth is looked at several times while it is fused; so many maps are kept meanwhile.
DEPTH_KEPT = 64


class MapAndKeyframes(OneCloud):
    """A TSDF map, episodic key frames and working memory (SPMem, 2506.05284).

    References come in the order of the bank: key frames, then the last frames, which are reported
    as forced. A key frame among the last frames is given once, as one of those.

    Args:
        bank: where frames are kept.
        config: how frames are cleaned and fused, and how many are given.
        retrieval: only `downscale` is read, at which key frames are judged and the report counts
            covered pixels.
        rendering: how the map is drawn; its `splat_radius` gives way to the memory's own.
    """

    def __init__(
        self,
        bank: Bank,
        config: MemoryConfig | None = None,
        retrieval: RetrievalConfig | None = None,
        rendering: RenderConfig | None = None,
    ):
        config = config or MemoryConfig(kind="map_and_keyframes")
        options = config.map_and_keyframes
        rendering = replace(rendering or RenderConfig(), splat_radius=options.splat_radius)
        super().__init__(bank, config, retrieval or RetrievalConfig(), rendering)
        self.map = TsdfMap(options.voxel, options.cap)
        self.key_frames = KeyFrames(options.min_revealed, options.depth_tolerance)
        self.cloud = self.map.cloud(options.min_weight)
        self._looked_at = 0
        self._fuse()

    def _fuse(self) -> None:
        if len(self.map) == len(self.bank):
            return
        edge = self.config.depth_edge
        depth = lru_cache(DEPTH_KEPT)(lambda number: self.bank.clean_depth(number, edge))
        self.map.grow(self.bank.cameras, depth, self.bank.frame)
        self.cloud = self.map.cloud(self.config.map_and_keyframes.min_weight)
        for number in slowly(range(self._looked_at, len(self.bank)), "looking for key frames"):
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
