"""ReconstructionConfig: how cameras are estimated from a plain video or photographs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ReconstructionConfig:
    """Structure from motion by COLMAP on the CPU; no value is given in the papers.

    Args:
        fps: frames per second taken from a video; null = all. From a folder, all are taken.
        longer_side: frames with a longer side above this many pixels are downscaled to it, and
            stored so.
        feature_side: longer side at which features are extracted; smaller frames are upscaled to it
            for this step, since SIFT finds few features in small images.
        motion: distance between keyframes, as mean image motion relative to the image's longer
            side.
        keyframes: maximum number of keyframes; if there would be more, they are spaced farther
            apart.
        between: how frames between keyframes are handled: `register` estimates each pose from its
            own features; `interpolate` interpolates between their neighbours; `drop` drops them.
        mapper: COLMAP's `incremental` mapper, or its `global` one (GLOMAP), faster on many frames.
        overlap: each keyframe is matched with this many following ones, and with those 2, 4, 8, ...
            later.
        exhaustive: up to this many keyframes, all pairs are matched, which finds every loop.
        loops: with more keyframes, each is also matched with this many of the most similar ones.
        lens: estimated distortion: `none`, `simple_radial` (one coefficient) or `opencv`.
        min_registered: the reconstruction is rejected if a smaller fraction of frames is
            registered, in (0, 1].
        seed: seed of all random choices.

    Raises:
        ValueError: a value out of range.
    """

    fps: float | None = 8.0
    longer_side: int = 1280
    feature_side: int = 960
    motion: float = 0.03
    keyframes: int = 150
    between: Literal["register", "interpolate", "drop"] = "register"
    mapper: Literal["incremental", "global"] = "incremental"
    overlap: int = 10
    exhaustive: int = 60
    loops: int = 5
    lens: Literal["none", "simple_radial", "opencv"] = "simple_radial"
    min_registered: float = 0.8
    seed: int = 0

    def __post_init__(self):
        rules = {
            "fps must be above 0": self.fps is None or self.fps > 0,
            "longer_side must be at least 64": self.longer_side >= 64,
            "feature_side must be at least 64": self.feature_side >= 64,
            "motion must lie in [0, 1]": 0 <= self.motion <= 1,
            "keyframes must be at least 3": self.keyframes >= 3,
            "overlap must be at least 1": self.overlap >= 1,
            "exhaustive and loops must not be negative": min(self.exhaustive, self.loops) >= 0,
            "min_registered must lie in (0, 1]": 0 < self.min_registered <= 1,
        }
        if broken := [rule for rule, holds in rules.items() if not holds]:
            raise ValueError(f"reconstruction: {'; '.join(broken)}; got {self}")
