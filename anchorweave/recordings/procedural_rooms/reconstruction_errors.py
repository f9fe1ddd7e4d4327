"""Simulated reconstruction errors: exact recordings with known errors in poses and depth.

Frames stay as the true camera took them; only poses and depth are perturbed. Real poses drift
slowly and jitter from frame to frame; real depth has a per-frame scale error, a smooth spatial
error and noise. Memories made from them are mutually inconsistent, which is what the network learns
to reconcile (paper section 3.2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from anchorweave.recordings.base import Recording

# Separates these random streams from those of rooms (seed) and walks (seed, 1).
POSES, DEPTHS = 2, 3
# Grid points along an image's height and width on which smooth depth errors are drawn.
BENDS = (4, 6)


@dataclass(frozen=True)
class ErrorConfig:
    """Magnitudes of the errors: standard deviations of normal distributions, all >= 0.

    Args:
        drift_position: slow position error along each camera axis, in metres.
        drift_rotation: slow rotation error about each camera axis, in degrees.
        drift_frames: correlation length of the slow errors (decay to 1/e), in frames.
        jitter_position: independent position error of each frame, in metres.
        jitter_rotation: independent rotation error of each frame, in degrees.
        depth_scale: log of a factor on the depth of each frame.
        depth_bend: log of a factor that varies smoothly over the image.
        depth_noise: log of an independent factor for each pixel.

    Raises:
        ValueError: a negative or non-finite magnitude, or a drift over 0 frames.
    """

    drift_position: float
    drift_rotation: float
    drift_frames: float
    jitter_position: float
    jitter_rotation: float
    depth_scale: float
    depth_bend: float
    depth_noise: float

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{field.name} must be 0 or more and finite, got {value}")
        if self.drift_frames == 0:
            raise ValueError("drift_frames must be more than 0 frames, got 0")

    def scaled(self, factor: float) -> ErrorConfig:
        """The same kinds of errors, scaled by `factor`.

        Raises:
            ValueError: a factor that is negative or not finite.
        """
        if not (math.isfinite(factor) and factor >= 0):
            raise ValueError(f"errors must be scaled by 0 or more, got {factor}")
        amounts = {
            field.name: factor * getattr(self, field.name)
            for field in fields(self)
            if field.name != "drift_frames"
        }
        return replace(self, **amounts)


# Rooms with these errors are as inconsistent as 7-Scenes' kitchen (an RGB-D camera tracked against
# a fused model); both are measured by `python -m inference.disagreement`.
LIKE_KITCHEN = ErrorConfig(
    drift_position=0.009,
    drift_rotation=0.25,
    drift_frames=12.0,
    jitter_position=0.0008,
    jitter_rotation=0.02,
    depth_scale=0.0012,
    depth_bend=0.0018,
    depth_noise=0.001,
)


class ErroneousRecording(Recording):
    """A recording with perturbed cameras and depth; frames and names are those of the original.

    The errors of a frame depend only on `seed`, its index and `config`, never on access order.

    Args:
        exact: the recording without errors.
        config: magnitudes of the errors.
        seed: random seed, >= 0.
        path: name of the recording with errors.
    """

    def __init__(self, exact: Recording, config: ErrorConfig, seed: int, path: Path):
        self.exact = exact
        self.config = config
        self.seed = seed
        self.path = path
        self.names = exact.names
        self.has_depth = exact.has_depth
        self.has_frames = exact.has_frames
        errors = pose_errors(config, seed, len(exact)).to(exact.cameras.c2w.dtype)
        wrong = replace(exact.cameras, c2w=exact.cameras.c2w @ errors)
        self.cameras = wrong.validated(str(path), exact.names)

    def caption(self, frames: Sequence[int] | None = None) -> str | None:
        """The caption of the recording without errors."""
        return self.exact.caption(frames)

    def along(self, start: int, path2start: Float[Tensor, "T 4 4"]) -> Recording | None:
        """Without errors: the path starts at the true camera of frame `start`."""
        return self.exact.along(start, path2start)

    def frame(self, i: int) -> Float[Tensor, "3 H W"]:
        """Colours [3, H, W] as the true camera saw them."""
        return self.exact.frame(i)

    def depth(self, i: int) -> Float[Tensor, "H W"]:
        """Depth [H, W] with the errors of frame `i`; 0 stays 0."""
        depth = self.exact.depth(i)
        return depth * depth_errors(self.config, self.seed, i, tuple(depth.shape)).to(depth)


def pose_errors(config: ErrorConfig, seed: int, count: int) -> Float[Tensor, "T 4 4"]:
    """Rigid transforms [T, 4, 4], float64, to right-multiply camera-to-world with.

    The slow part is stationary from the first frame on: the first camera is as wrong as any other.
    """
    rng = np.random.default_rng([seed, POSES])
    drawn = torch.from_numpy(rng.standard_normal((count, 2, 6)))
    keep = math.exp(-1 / config.drift_frames)
    fresh = math.sqrt(1 - keep**2)
    drift = drawn[:, 0].clone()
    for t in range(1, count):
        drift[t] = keep * drift[t - 1] + fresh * drawn[t, 0]
    position = config.drift_position * drift[:, :3] + config.jitter_position * drawn[:, 1, :3]
    degrees = config.drift_rotation * drift[:, 3:] + config.jitter_rotation * drawn[:, 1, 3:]
    x, y, z = torch.deg2rad(degrees).unbind(-1)
    zero = torch.zeros_like(x)
    turn = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).view(count, 3, 3)
    errors = torch.eye(4, dtype=torch.float64).repeat(count, 1, 1)
    errors[:, :3, :3] = torch.linalg.matrix_exp(turn)
    errors[:, :3, 3] = position
    return errors


def depth_errors(
    config: ErrorConfig, seed: int, i: int, size: tuple[int, int]
) -> Float[Tensor, "H W"]:
    """Factor on the depth of frame `i` [H, W], float64, > 0."""
    rng = np.random.default_rng([seed, DEPTHS, i])
    scale = config.depth_scale * rng.standard_normal()
    coarse = torch.from_numpy(rng.standard_normal((1, 1, *BENDS)))
    bend = interpolate(coarse, size, mode="bicubic", align_corners=True)[0, 0]
    noise = torch.from_numpy(rng.standard_normal(size))
    return torch.exp(scale + config.depth_bend * bend + config.depth_noise * noise)
