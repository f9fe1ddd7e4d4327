"""Estimated cameras of a video, and when too few were estimated to be useful."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anchorweave.evaluation.camera_error import By


@dataclass(frozen=True)
class EstimationConfig:
    """How cameras are estimated; no value is given in the papers.

    Args:
        shorter_side: frames with a smaller shorter side are upscaled to it. Of the true 64x96 clips
            of anchorweave-tiny, all have all frames registered at 256 (12 of 12, with 0.5 degrees
            of error); at 128, one of four does not, at their own 64, two of four.
        overlap: every frame is matched with this many following ones, and with those 2, 4, 8, ...
            later.
        min_triangulation_degrees: minimum angle between the two initial views of a reconstruction.
            COLMAP's default of 16 is for photographs; a short clip of a walk hardly reaches it.
        min_init_inliers: minimum inlier matches of those two views; COLMAP: 100.
        min_pose_inliers: minimum inlier matches to register another view; COLMAP: 30.
        min_registered: a video with a smaller fraction of registered frames counts as failed.
        align: what the rotation between the estimated and the true world is fitted to, see
            `anchorweave/evaluation/camera_error.py`.
        seed: seed of all random choices.

    Raises:
        ValueError: a value out of range.
    """

    shorter_side: int = 256
    overlap: int = 16
    min_triangulation_degrees: float = 4.0
    min_init_inliers: int = 30
    min_pose_inliers: int = 15
    min_registered: float = 0.5
    align: By = "orientations"
    seed: int = 0

    def __post_init__(self):
        for name in ("shorter_side", "overlap", "min_init_inliers", "min_pose_inliers"):
            if getattr(self, name) < 1:
                raise ValueError(f"estimate.{name}={getattr(self, name)}: must be at least 1")
        if not 0 < self.min_triangulation_degrees < 90:
            raise ValueError(
                f"estimate.min_triangulation_degrees={self.min_triangulation_degrees}: "
                "must be between 0 and 90"
            )
        if not 0 < self.min_registered <= 1:
            raise ValueError(
                f"estimate.min_registered={self.min_registered}: must be in (0, 1], a share"
            )
        if self.seed < 0:
            raise ValueError(f"estimate.seed={self.seed}: must not be negative")


@dataclass(frozen=True)
class EstimatedCameras:
    """Cameras estimated from the frames, in their own world and unit.

    Args:
        c2w: camera-to-world transforms, float64; the identity for unregistered frames.
        registered: which frames are registered.
        turns: rotation from each frame's camera to the next one's: next2this.
        turned: which of these could be estimated.
    """

    c2w: Float[Tensor, "T 4 4"]
    registered: Bool[Tensor, " T"]
    turns: Float[Tensor, "T-1 3 3"]
    turned: Bool[Tensor, " T-1"]

    def failed(self, config: EstimationConfig) -> bool:
        """Whether too few frames are registered for an error to be meaningful.

        Two views are never enough, because no third view verifies their scale.
        """
        count = int(self.registered.sum())
        return count < max(3, config.min_registered * len(self.registered))

    def turns_failed(self, config: EstimationConfig) -> bool:
        """Whether the rotation is known between too few pairs of consecutive frames."""
        return int(self.turned.sum()) < max(1, config.min_registered * len(self.turned))

    def on_the_spot(self) -> EstimatedCameras:
        """Cameras of a video known to rotate in place: its frame-to-frame rotations, accumulated.

        Structure from motion needs a translating camera and cannot register these frames. If some
        rotations are unknown, the longest unbroken run is registered. Errors accumulate along it.
        """
        start, stop = _longest_stretch(self.turned.tolist())
        c2w = torch.eye(4, dtype=torch.float64).repeat(len(self.registered), 1, 1)
        for frame in range(start, stop):
            c2w[frame + 1, :3, :3] = c2w[frame, :3, :3] @ self.turns[frame]
        registered = torch.zeros_like(self.registered)
        registered[start : stop + 1] = stop > start
        return replace(self, c2w=c2w, registered=registered)


def _longest_stretch(known: list[bool]) -> tuple[int, int]:
    """Start and end (exclusive) of the longest run of True; (0, 0) if there is none."""
    best, start = (0, 0), 0
    for place, here in enumerate([*known, False]):
        if not here:
            best, start = max(best, (start, place), key=lambda run: run[1] - run[0]), place + 1
    return best
