"""GlobalCloud: Spatia's memory, one fused point cloud of all that was seen, and reference frames.

Keeps one point per voxel: the mean of all points that fell into it. It forgets which frame a point
came from, so errors of poses or depths duplicate or blur a surface. The frames stay on disk: those
that overlap with the target are returned as references, and, optionally, the last ones as the clip
that precedes it. Costs about 110 bytes of main memory per voxel.

The paper builds its cloud from one frame in training and estimates depth and poses itself; here it
is built from all remembered frames, as in the paper's long rollouts, with the depth of perception.
The bank holds no depth for moving things, so the cloud is static.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from anchorweave.anchors import Anchors, Preceding
from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.point_cloud import cloud_from_frame
from anchorweave.geometry.voxels import FusedCloud
from anchorweave.memory.bank import Bank
from anchorweave.memory.config import MemoryConfig
from anchorweave.memory.one_cloud import OneCloud
from anchorweave.memory.references import Chosen
from anchorweave.progress import progress
from anchorweave.rendering.anchor_video import RenderConfig
from anchorweave.rendering.front_points import front_points
from anchorweave.rendering.point_splat import Splat
from anchorweave.retrieval import RetrievalConfig
from anchorweave.retrieval.scene_overlap import (
    REFERENCE_CHOICES,
    SceneParts,
    assign_references,
    choose_references,
    shared_points,
    views_asked,
)

# Frames of the preceding clip: 4k + 1, as both families' autoencoders take them.
IN_TIME = 4


@dataclass(frozen=True)
class GlobalCloudConfig:
    """Options of `global_cloud`.

    Args:
        voxel: side of the voxels that points are averaged in, in the recording's unit (Spatia
            table 7 and its released code: 0.01 m).
        references: K, the maximum number of reference frames; one is chosen for every K-th target
            frame (Spatia: 7); 0 = none.
        choose: how references are chosen. overlap assigns to one target frame after another the
            frame that overlaps most with it (Spatia's Algorithm 1); hungarian assigns frames to
            target frames one to one, by the points of the cloud that both show, as its released
            code does, and draws the cloud once for every remembered frame.
        min_overlap: a reference must share more than this with the target frame that asks for it,
            as intersection over union (epsilon in Spatia's Algorithm 1; no value given); of
            `choose: overlap` only.
        overlap_voxel: side of the voxels that the overlap is counted in, in the recording's unit
            (not given in the paper). Larger than what neighbouring pixels are apart, or one
            surface seen from two distances would not meet itself. Of `choose: overlap` only.
        preceding: number of last frames that are given as one clip, with the cloud's render at
            their cameras (Spatia: the last 9 of the clip before); 4k + 1, or 0 = none. They are no
            references then; while fewer are remembered, none is given. The newest is the frame
            that the target begins with; in the paper the target begins behind it. For clips that
            continue where memory ends, such as those of a rollout and of `split: later`, unlike
            those of a partial revisit.

    Raises:
        ValueError: a value out of range.
    """

    voxel: float = 0.01
    references: int = 7
    choose: Literal["overlap", "hungarian"] = "overlap"
    min_overlap: float = 0.05
    overlap_voxel: float = 0.1
    preceding: int = 0

    def __post_init__(self):
        for name in ("voxel", "overlap_voxel"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(
                    f"memory.global_cloud.{name} is a length above 0, got {getattr(self, name)}"
                )
        for name in ("references", "preceding"):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"memory.global_cloud.{name} must be 0 or more, got {getattr(self, name)}"
                )
        if self.preceding % IN_TIME != min(self.preceding, 1):
            below = (self.preceding - 1) // IN_TIME * IN_TIME + 1
            raise ValueError(
                f"memory.global_cloud.preceding={self.preceding} frames are no clip that an "
                f"autoencoder takes, which is of {IN_TIME}k + 1; the nearest are {below} and "
                f"{below + IN_TIME} (0 = none)"
            )
        if self.choose not in REFERENCE_CHOICES:
            known = ", ".join(REFERENCE_CHOICES)
            raise ValueError(f"memory.global_cloud.choose is one of {known}, got {self.choose!r}")
        if not 0 <= self.min_overlap <= 1:
            raise ValueError(
                f"memory.global_cloud.min_overlap is a share in [0, 1], got {self.min_overlap}"
            )


class GlobalCloud(OneCloud):
    """One fused point cloud of all remembered frames, and up to K references (Spatia, section 3.1).

    References come in the order of the target frames that asked for them, and are chosen of the
    frames before the preceding clip. In the report, `pool` counts those of these frames that
    overlap enough with any target frame that asked; all, where they are assigned.

    Args:
        bank: the frames on disk.
        config: how clouds are cleaned and fused, and which references are chosen.
        retrieval: only `downscale` is read, at which the report counts covered pixels; the one
            cloud leaves nothing else to choose.
        rendering: how the cloud is drawn.

    Source: Spatia, section 3.1 and Algorithm 1.
    """

    options = GlobalCloudConfig

    def __init__(
        self,
        bank: Bank,
        config: MemoryConfig | None = None,
        retrieval: RetrievalConfig | None = None,
        rendering: RenderConfig | None = None,
    ):
        super().__init__(bank, config, retrieval, rendering)
        self._fused = FusedCloud(self.config.global_cloud.voxel)
        self._parts = SceneParts(self.config.global_cloud.overlap_voxel)
        self.cloud = self._fused.cloud()
        self._fuse()

    @classmethod
    def preceding_frames(cls, config: MemoryConfig) -> int:
        """Those of its option."""
        return config.global_cloud.preceding

    @classmethod
    def gives_at_most(cls, config: MemoryConfig, retrieval: RetrievalConfig) -> tuple[int, int]:
        """The cloud; the references that are looked for."""
        return 1, config.global_cloud.references

    def may_give(self) -> Sequence[int]:
        """No frame if none is wanted: the cloud itself needs none."""
        config = self.config.global_cloud
        return super().may_give() if config.references or config.preceding else ()

    def _last(self) -> range:
        """Numbers of the frames of the preceding clip; none while fewer are remembered."""
        known, count = len(self.bank), self.config.global_cloud.preceding
        return range(known - count if count <= known else known, known)

    def _preceding(self, cameras: Cameras) -> Preceding | None:
        last = self._last()
        if not len(last):
            return None
        seen_by = self.bank.cameras[last.start : last.stop]
        frames = torch.stack([self.bank.frame(number) for number in last])
        shown, poses = self._splat(seen_by), seen_by.relative_to(cameras[0])
        # Told from the first target camera, as the target's anchor is.
        anchor = Anchors(shown.video[None], shown.visible[None], poses[None].clone())
        return Preceding(frames, anchor, poses)

    def _fuse(self) -> None:
        known = len(self._parts)
        for number in progress(range(known, len(self.bank)), "fusing"):
            depth = self.bank.clean_depth(number, self.config.depth_edge)
            cloud = cloud_from_frame(self.bank.frame(number), depth, self.bank.cameras[number])
            self._fused.add(cloud)
            self._parts.add(cloud.points)
        if known < len(self.bank):
            self.cloud = self._fused.cloud()

    def _choose(self, cameras: Cameras, shown: Splat) -> Chosen:
        config = self.config.global_cloud
        stop = self._last().start
        asked = views_asked(len(cameras), config.references)
        if config.choose == "hungarian":
            return self._assigned(cameras[list(asked)], stop)
        return self._overlapping(cameras, shown, asked, stop)

    def _overlapping(self, cameras: Cameras, shown: Splat, asked: range, stop: int) -> Chosen:
        """By Algorithm 1, of the first `stop` frames."""
        config = self.config.global_cloud
        shares = []
        for i in progress(asked, "looking for references"):
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
        seen = iter(progress(frames, "looking for references", stop))
        shared = shared_points(targets, seen, len(self.cloud))
        chosen, stopped = assign_references(shared, self.config.global_cloud.references)
        return Chosen(tuple(chosen), stop, stopped)
