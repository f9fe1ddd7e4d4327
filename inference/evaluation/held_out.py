"""A held-out clip: what is remembered, what is to be generated, and what only memory can know."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool
from torch import Tensor

from anchorweave.clip import Clip
from anchorweave.datasets.splits import split_frames
from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.point_cloud import cloud_from_frame, depth_edges
from anchorweave.recordings import Recording
from anchorweave.rendering.anchor_video import RenderConfig, render_anchor
from anchorweave.run_config import RunConfig
from anchorweave.world import scene_unit
from inference.evaluation.protocols import RECORDED_PATH
from inference.runs.path import camera_count, planned_cameras
from inference.runs.source import open_source, prompt_of, seen_clip

# Large enough to close the gaps between points of a surface seen from closer.
MASK_RADIUS = 1
# A point that is deeper than the target's depth by more than this fraction is occluded.
HIDDEN = 0.1


@dataclass(frozen=True)
class HeldOut:
    """One clip of an evaluation.

    Args:
        name: its name.
        prompt: its prompt.
        seen: the frames to remember, with depth; the last one is the first target frame.
        cameras: cameras of the video to generate [T].
        truth: the true frames; None if unknown.
        unit: length of one scene unit.
    """

    name: str
    prompt: str
    seen: Clip
    cameras: Cameras
    truth: Clip | None
    unit: float

    def only_memory(self, depth_edge: float) -> Bool[Tensor, "T H W"]:
        """The target pixels that the history shows but the first frame does not.

        Rendered from the same cleaned points as anchors, but from every frame of the history,
        regardless of which the row chooses. Points behind the target's depth, where known, do not
        count.
        """
        visible = [self._shown(self.seen[i : i + 1], depth_edge) for i in range(len(self.seen))]
        history = (
            torch.stack(visible[:-1]).any(dim=0) if visible[:-1] else torch.zeros_like(visible[0])
        )
        return history & ~visible[-1]

    def _shown(self, frame: Clip, depth_edge: float) -> Bool[Tensor, "T H W"]:
        depth = frame.static_depth[0]
        depth = torch.where(depth_edges(depth, depth_edge), 0.0, depth)
        cloud = cloud_from_frame(frame.frames[0], depth, frame.cameras[0])
        drawn = render_anchor(cloud, self.cameras, RenderConfig(splat_radius=MASK_RADIUS))
        if self.truth is None:
            return drawn.visible
        before = self.truth.depth
        hidden = (before > 0) & (drawn.depth > (1 + HIDDEN) * before)
        return drawn.visible & ~hidden


def hold_out(config: RunConfig, name: str, source: str) -> HeldOut:
    """Holds back frames of the recording `source`, as set by `config.split`."""
    recording = open_source(replace(config, source=source))
    split = split_frames(len(recording), config.frames, config.split)
    # Image-to-video starts from the first target frame, so it is remembered, as the last one.
    seen = seen_clip(config, recording, [*split.history, split.target[0]])
    truth = recording.clip(split.target, config.size)
    prompt, _ = prompt_of(config, recording, frames=split.target)
    return HeldOut(name, prompt, seen, truth.cameras, truth, scene_unit(seen.depth[-1]))


def closed_loop(config: RunConfig, name: str, source: str) -> HeldOut:
    """A path from the start of the recording `source` that returns to where it began.

    Raises:
        ValueError: a recording that is shorter than the way out.
    """
    recording = open_source(replace(config, source=source))
    seen = seen_clip(config, recording, range(config.rollout.seen))
    prompt, _ = prompt_of(config, recording)
    unit, count = scene_unit(seen.depth[-1]), camera_count(config)
    if config.rollout.trajectory != RECORDED_PATH:
        cameras = planned_cameras(config, seen.cameras[-1], unit)
        return HeldOut(name, prompt, seen, cameras, _filmed(config, recording, cameras), unit)
    start, turn = config.rollout.seen - 1, (count + 1) // 2
    if start + turn > len(recording):
        raise ValueError(
            f"{source}: has {len(recording)} frames, but the way out needs {start + turn}; "
            "lower rollout.segments or frames, or use a longer recording"
        )
    way_out = recording.clip(range(start, start + turn), config.size)
    truth = way_out[[min(i, count - 1 - i) for i in range(count)]]
    return HeldOut(name, prompt, seen, truth.cameras, truth, unit)


def check_path(config: RunConfig) -> None:
    """Plans the path of a rollout from an arbitrary start, before anything is generated.

    Raises:
        ValueError: a path that cannot be planned, and why.
        FileNotFoundError: missing frames of a camera file.
    """
    if config.rollout.trajectory != RECORDED_PATH:
        planned_cameras(config, Cameras(torch.eye(4), torch.eye(3), config.size), 1.0)


def _filmed(config: RunConfig, recording: Recording, cameras: Cameras) -> Clip | None:
    """What the planned `cameras` see, if the recording's scene can be re-rendered."""
    place = recording.along(config.rollout.seen - 1, cameras.relative_to(cameras[0]))
    if place is None:
        return None
    # If the recording's cameras have errors, the path has the same errors.
    return replace(place.clip(range(len(cameras)), config.size), cameras=cameras)
