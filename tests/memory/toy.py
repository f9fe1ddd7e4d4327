"""A memory system that is made outside the package: the newest frames, each a cloud of its own."""

from dataclasses import dataclass

import torch

from anchorweave.anchors import Anchors, ChunkReport, Retrieved, empty_anchors, references_for
from anchorweave.geometry.point_cloud import cloud_from_frame
from anchorweave.memory import Memory
from anchorweave.rendering.anchor_video import render_anchor


@dataclass(frozen=True)
class NewestFramesConfig:
    """Options of `newest_frames`.

    Args:
        frames: so many of the newest are drawn, each as an anchor.
    """

    frames: int = 1

    def __post_init__(self):
        if self.frames < 1:
            raise ValueError(f"memory.newest_frames.frames must be 1 or more, got {self.frames}")


class NewestFrames(Memory):
    options = NewestFramesConfig
    draws_from_depth = True

    def update(self, clip):
        self.bank.append(clip)
        # Something that takes main memory, to be counted.
        self.last_depth = clip.depth[-1].clone()

    def may_give(self):
        return range(max(len(self) - self.config.newest_frames.frames, 0), len(self))

    def retrieve(self, cameras):
        cameras = self.like_bank(cameras)
        T, first = len(cameras), cameras.relative_to(cameras[0])
        views = [self._drawn(number, cameras) for number in self.may_give()]
        anchors = empty_anchors(0, (T, 3, *cameras.size))
        if views:
            seen = [cameras.relative_to(self.bank.cameras[number]) for number in self.may_give()]
            anchors = Anchors(
                torch.stack([view.video for view in views]),
                torch.stack([view.visible for view in views]),
                torch.stack(seen),
            )
        report = (ChunkReport(0, T, len(views), (), "all are drawn"),)
        return Retrieved(anchors, references_for(cameras, (), cameras[:0]), first, report)

    def known_depth(self, cameras):
        depth = torch.zeros(len(cameras), *cameras.size)
        for number in self.may_give():
            depth = torch.where(depth > 0, depth, self._drawn(number, cameras).depth)
        return depth

    def _drawn(self, number, cameras):
        depth = self.bank.clean_depth(number, self.config.depth_edge)
        cloud = cloud_from_frame(self.bank.frame(number), depth, self.bank.cameras[number])
        return render_anchor(cloud, cameras, self.rendering)
