"""GlobalCloud: Spatia's memory, one fused point cloud of all that was seen, and reference frames.

Keeps a point per voxel: the mean of all points that ever fell into it. Forgets which frame a point
came from, so where poses or depths err one surface lies at several places, or is blurred. The
frames themselves stay on disk: some that show what the target will show, and where asked for the
last ones, are given as they were seen. Costs some 110 bytes of main memory a voxel.

The paper builds its cloud from one frame in training and estimates depth and poses itself; here it
is built from all remembered frames, as in the paper's long rollouts, with the depth that perception
gave them. The bank holds no depth for moving things, so that the cloud is of what stands still.
"""

from __future__ import annotations

import torch

from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.point_cloud import cloud_from_frame
from anchorweave.geometry.voxels import FusedCloud
from anchorweave.memory.bank import Bank
from anchorweave.memory.config import MemoryConfig
from anchorweave.memory.one_cloud import OneCloud
from anchorweave.memory.references import Chosen, last_frames
from anchorweave.progress import slowly
from anchorweave.rendering.anchor_video import RenderConfig
from anchorweave.rendering.front_points import front_points
from anchorweave.rendering.point_splat import Splat
from anchorweave.retrieval import RetrievalConfig
from anchorweave.retrieval.scene_overlap import (
    SceneParts,
    assign_references,
    choose_references,
    shared_points,
    views_asked,
)


class GlobalCloud(OneCloud):
    """One fused point cloud of all remembered frames, and up to K references (Spatia, section 3.1).

    References come in the order of the target frames that asked for them, then the preceding frames
    in the order of the bank, which are reported as forced. In the report, `pool` counts the frames
    before those that overlap enough with any target frame that asked; all, where they are assigned.

    Args:
        bank: where frames are kept.
        config: how clouds are cleaned and fused, and which references are given.
        retrieval: only `downscale` is read, at which the report counts covered pixels; the one
            cloud leaves nothing else to choose.
        rendering: how the cloud is drawn.

    Source: Spatia, section 3.1 and Algorithm 1.
    """

    def __init__(
        self,
        bank: Bank,
        config: MemoryConfig | None = None,
        retrieval: RetrievalConfig | None = None,
        rendering: RenderConfig | None = None,
    ):
        config = config or MemoryConfig(kind="global_cloud")
        super().__init__(bank, config, retrieval or RetrievalConfig(), rendering or RenderConfig())
        self._fused = FusedCloud(config.global_cloud.voxel)
        self._parts = SceneParts(config.global_cloud.overlap_voxel)
        self.cloud = self._fused.cloud()
        self._fuse()

    def _fuse(self) -> None:
        known = len(self._parts)
        for number in slowly(range(known, len(self.bank)), "fusing"):
            depth = self.bank.clean_depth(number, self.config.depth_edge)
            cloud = cloud_from_frame(self.bank.frame(number), depth, self.bank.cameras[number])
            self._fused.add(cloud)
            self._parts.add(cloud.points)
        if known < len(self.bank):
            self.cloud = self._fused.cloud()

    def _choose(self, cameras: Cameras, shown: Splat) -> Chosen:
        config = self.config.global_cloud
        last = last_frames(self.bank, config.preceding)
        asked = views_asked(len(cameras), config.references)
        if config.choose == "hungarian":
            chosen = self._assigned(cameras[list(asked)], last.start)
        else:
            chosen = self._overlapping(cameras, shown, asked, last.start)
        return chosen.and_last(last)

    def _overlapping(self, cameras: Cameras, shown: Splat, asked: range, stop: int) -> Chosen:
        """By Algorithm 1, of the first `stop` frames."""
        config = self.config.global_cloud
        shares = []
        for i in slowly(asked, "looking for references"):
            view = cloud_from_frame(shown.video[i], shown.depth[i], cameras[i])
            shares.append(self._parts.overlap(view.points)[:stop])
        chosen, stopped = choose_references(shares, config.references, config.min_overlap)
        pool = 0
        if shares:
            pool = int((torch.stack(shares) > config.min_overlap).any(dim=0).sum())
        return Chosen(tuple(chosen), pool, stopped)

    def _assigned(self, asking: Cameras, stop: int) -> Chosen:
        """By an assignment to the cameras that ask, of the first `stop` frames."""
        if not (stop and len(asking)):
            return Chosen((), stop, "no frame to assign" if len(asking) else "K reached")
        frames = front_points(self.cloud, self.bank.cameras[:stop], self.rendering)
        targets = list(front_points(self.cloud, asking, self.rendering))
        seen = iter(slowly(frames, "looking for references", stop))
        shared = shared_points(targets, seen, len(self.cloud))
        chosen, stopped = assign_references(shared, self.config.global_cloud.references)
        return Chosen(tuple(chosen), stop, stopped)
