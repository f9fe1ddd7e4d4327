"""LocalClouds: AnchorWeave's memory, one clean point cloud per past frame, never fused.

Keeps every frame with its depth. Fusing clouds would duplicate surfaces wherever poses or depths
are wrong; separate clouds are each consistent, and reconciling them is left to the trained
controller (paper section 3.2). Costs a frame's colours and depth on disk per memory, and a coarse
depth map in main memory after the first retrieve. With `memory.limit`, retrieval chooses from at
most that many frames; the bank on disk keeps all of them.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.anchors import (
    Anchors,
    ChunkReport,
    Retrieved,
    empty_anchors,
    references_for,
)
from anchorweave.clip import Clip
from anchorweave.geometry.cameras import Cameras, rotation_angle
from anchorweave.geometry.point_cloud import PointCloud, cloud_from_frame
from anchorweave.memory.bank import Bank
from anchorweave.memory.base import Memory
from anchorweave.memory.config import MemoryConfig
from anchorweave.memory.limited import Limited, subset
from anchorweave.memory.stored_views import StoredViews
from anchorweave.progress import progress
from anchorweave.rendering.anchor_video import RenderConfig, render_anchor
from anchorweave.retrieval import RetrievalConfig, coarse_views, select

# Distance below which a memory counts as "seen from the first target camera".
SAME_PLACE = 1e-4
# Distances that differ by less than this are equal: two visits of one place, stored in float32.
ROUNDING = 1e-6
# Relative depth difference up to which two depths belong to one surface (not given in the paper).
SAME_SURFACE = 0.05
# Neighbouring chunks mostly pick the same memories; this avoids decoding them again.
CLOUDS_KEPT = 32


class LocalClouds(Memory):
    """One point cloud per remembered frame (paper sections 3.2 and 3.3).

    Args:
        bank: the frames on disk.
        config: how clouds are cleaned.
        retrieval: how memories are chosen.
        rendering: how they are drawn.
    """

    draws_from_depth = True

    def __init__(
        self,
        bank: Bank,
        config: MemoryConfig | None = None,
        retrieval: RetrievalConfig | None = None,
        rendering: RenderConfig | None = None,
    ):
        super().__init__(bank, config, retrieval, rendering)
        self.cloud = lru_cache(CLOUDS_KEPT)(self._cloud)
        # Read on first use, so that opening a bank of thousands of frames only reads its list.
        self._views = StoredViews(bank, self.config.depth_edge, self.retrieval.downscale)
        limit = self.config.limit
        self._limited = limit and Limited(limit, self.config.evict, SAME_SURFACE)

    def update(self, clip: Clip) -> None:
        """Remember every frame of `clip`."""
        self.bank.append(clip)
        try:
            self._views.store()
        except OSError as error:
            # The frames are remembered; their views are only kept to open the bank faster.
            warnings.warn(
                f"{self._views.path} could not be written ({error}); opening the memory again "
                "will take longer",
                stacklevel=2,
            )
        self.chosen_from()

    def chosen_from(self) -> list[int] | None:
        """The frames that retrieval chooses from if `memory.limit` is set; None = all."""
        if self._limited is None:
            return None
        if self._limited.offered < len(self.bank):
            views = self._views.views()
            new = range(self._limited.offered, len(self.bank))
            for i in progress(new, "selecting memories within the limit"):
                self._limited.offer(subset(views, [i]))
        return self._limited.numbers

    def may_give(self) -> Sequence[int]:
        """The frames that retrieval chooses from."""
        return range(len(self)) if (numbers := self.chosen_from()) is None else numbers

    def retrieve(self, cameras: Cameras) -> Retrieved:
        """The best memories for each chunk of T target cameras, rendered as K anchor videos.

        Slot 0 goes to the newest memory seen from the first target camera, if there is one and
        `retrieval.forced` is "first". Slots that no memory fills show nothing.
        """
        cameras = self.like_bank(cameras)
        report = self._select(cameras)
        anchors = empty_anchors(self.retrieval.anchors, (len(cameras), 3, *cameras.size))
        for chunk in progress(report, "rendering anchors"):
            self._render(chunk, cameras, anchors)
        nothing = references_for(cameras, (), cameras[:0])
        return Retrieved(anchors, nothing, cameras.relative_to(cameras[0]), report)

    def known_depth(self, cameras: Cameras) -> Float[Tensor, "T H W"]:
        """Depth of the retrieved memories; where several overlap, the first pick's."""
        cameras = self.like_bank(cameras)
        depth = torch.zeros(len(cameras), *cameras.size)
        for chunk in progress(self._select(cameras), "rendering known depth"):
            part = depth[chunk.start : chunk.stop]
            for pick in chunk.picks:
                views = cameras[chunk.start : chunk.stop]
                rendered = render_anchor(self.cloud(pick.memory), views, self.rendering).depth
                part.copy_(torch.where(part > 0, part, rendered))
        return depth

    def _select(self, cameras: Cameras) -> tuple[ChunkReport, ...]:
        if len(self.bank):
            views = self._views.views()
        else:
            nothing = torch.zeros(0, *cameras.size)
            views = coarse_views(nothing, cameras[:0], (), self.retrieval.downscale)
        first = self._seen_from(cameras[0])
        if (numbers := self.chosen_from()) is None or not len(self.bank):
            return select(cameras, views, self.retrieval, first)
        place = numbers.index(first) if first in numbers else None
        report = select(cameras, subset(views, numbers), self.retrieval, place)
        return tuple(
            replace(chunk, picks=tuple(replace(p, memory=numbers[p.memory]) for p in chunk.picks))
            for chunk in report
        )

    def _render(self, chunk: ChunkReport, cameras: Cameras, anchors: Anchors) -> None:
        """Writes one chunk of the anchors of all target `cameras`."""
        frames = slice(chunk.start, chunk.stop)
        for pick in chunk.picks:
            out = anchors.video[pick.slot, frames], anchors.visible[pick.slot, frames]
            render_anchor(self.cloud(pick.memory), cameras[frames], self.rendering, out)
            source = self.bank.cameras[pick.memory]
            anchors.target2source[pick.slot, frames] = cameras[frames].relative_to(source)

    def _cloud(self, memory: int) -> PointCloud:
        """The cleaned cloud of one memory, in world coordinates."""
        return cloud_from_frame(
            self.bank.frame(memory), self._clean_depth(memory), self.bank.cameras[memory]
        )

    def _clean_depth(self, memory: int) -> Float[Tensor, "H W"]:
        return self.bank.clean_depth(memory, self.config.depth_edge)

    def _seen_from(self, camera: Cameras) -> int | None:
        """The memory with the pose of `camera`; of several, the newest."""
        if not len(self.bank):
            return None
        cameras = self.bank.cameras
        turned = rotation_angle(camera.c2w[:3, :3], cameras.c2w[:, :3, :3]) < SAME_PLACE
        scale = cameras.centres.abs().max().clamp(min=1.0)
        moved = (cameras.centres - camera.centres).norm(dim=-1)
        same = turned & (moved < SAME_PLACE * scale)
        if not same.any():
            return None
        # Frames of a slow camera may all be this close: the nearest, up to rounding.
        nearest = same & (moved <= moved[same].min() + ROUNDING * scale)
        return int(nearest.nonzero()[-1])
