"""ReconstructionConfig: how cameras of a plain video or of photographs are found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ReconstructionConfig:
    """Structure from motion by COLMAP on the CPU; no value is given in the papers.

    Args:
        fps: frames a second that are taken from a video; null = all. Of a folder all are taken.
        longer_side: frames whose longer side has more pixels are shrunk to it, and so written.
        feature_side: features are sought at this longer side; frames with fewer pixels are
            enlarged to it there, since SIFT finds little in small ones.
        motion: keyframes are this far apart, as the mean shift of what they show in shares of the
            image's longer side.
        keyframes: at most so many; if there would be more, they lie further apart.
        between: what becomes of the frames between keyframes: `register` finds the pose of each by
            its own features; `interpolate` puts them on the path between their neighbours; `drop`
            leaves them out.
        mapper: COLMAP's `incremental` mapper, or its `global` one (GLOMAP), faster on many frames.
        overlap: each keyframe is matched with so many after it, and with those 2, 4, 8 ... after.
        exhaustive: up to so many keyframes all are matched with all, which finds every loop.
        loops: with more keyframes, each is also matched with so many that look most alike.
        lens: distortion that is estimated: `none`, `simple_radial` (one coefficient) or `opencv`.
        min_registered: refused if a smaller share of the frames is registered, in (0, 1].
        seed: of all that is drawn at random.

    Raises:
        ValueError: a number out of its range.
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
            raise ValueError(f"reconstruction: {'; '.join(broken)}; met {self}")
