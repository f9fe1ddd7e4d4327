"""The outcome of a reconstruction, and why a poor one is rejected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Fraction of the widest matching pairs explained by a rotation above which the camera only rotates.
TURNING = 0.8
# Median image motion, relative to the image size, below which the camera is static.
STANDING = 0.003
# Images with fewer features are blurred, dark or blank.
FEW_FEATURES = 150
# Low median triangulation angle (of the two views farthest apart), in degrees.
LITTLE_PARALLAX = 2.0


class NotReconstructedError(ValueError):
    """Too few frames could be registered; the message says why, as far as known."""


@dataclass(frozen=True)
class ReconstructionReport:
    """The outcome of a reconstruction.

    Args:
        frames: number of frames of the footage.
        keyframes: number of keyframes.
        registered: number of frames with a camera.
        points: number of sparse points.
        error: mean reprojection error in pixels.
        parallax: median over points of the widest triangulation angle, in degrees.
        camera: COLMAP's camera model, and its parameters in pixels.
        unregistered: names of the frames without a camera.
    """

    frames: int
    keyframes: int
    registered: int
    points: int
    error: float
    parallax: float
    camera: tuple[str, list[float]]
    unregistered: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The lines to print."""
        name, params = self.camera
        lines = [
            f"registered {self.registered} of {self.frames} frames ({self.keyframes} keyframes), "
            f"{self.points} points, reprojection error {self.error:.2f} px",
            f"camera: {name} {' '.join(f'{value:.4g}' for value in params)}; parallax "
            f"{self.parallax:.1f} degrees (median over points)",
        ]
        if self.parallax < LITTLE_PARALLAX:
            lines.append(
                "little parallax: depths are uncertain; a path with more sideways motion would help"
            )
        if self.unregistered:
            names = ", ".join(self.unregistered[:5])
            more = len(self.unregistered) - 5
            lines.append(f"left out: {names}" + (f" and {more} more" if more > 0 else ""))
        return lines


def refusal(
    where: object,
    found: Mapping[str, Any],
    registered: int,
    of: int,
    least: float,
    sharpness: Sequence[float],
) -> NotReconstructedError:
    """An error with the registered fraction, and what would help.

    Args:
        where: the footage.
        found: the worker's results, see `worker.py`.
        registered: number of frames with a camera.
        of: number of frames that should have one.
        least: required fraction.
        sharpness: sharpness of the frames; higher is sharper.
    """
    features = sorted(found["features"])
    median = features[len(features) // 2]
    sharp = sorted(sharpness)
    blurred = sum(value < 0.1 * sharp[len(sharp) // 2] for value in sharp)
    if found["linked"] and found["shift"] < STANDING:
        why = (
            "the camera is static: there is no image motion and so no parallax; walk "
            "around while filming"
        )
    elif found["linked"] and found["turns"] >= TURNING:
        why = (
            f"the camera only rotates in place: a rotation explains {found['turns']:.0%} of the "
            "pairs of frames, so there is no parallax, and neither positions nor depths can be "
            "determined; move sideways while filming"
        )
    elif median < FEW_FEATURES:
        why = (
            f"half of the frames have fewer than {median + 1} features: they are blurred, dark or "
            "blank; film slower, in better light, and textured objects"
        )
    elif len(found["pieces"]) > 1:
        sizes = ", ".join(map(str, found["pieces"][:5]))
        why = (
            f"the frames fall into disconnected groups of {sizes} keyframes; film slower, "
            "without cuts, and let consecutive views overlap (a higher "
            "reconstruction.fps= or a smaller reconstruction.motion= uses more of the footage)"
        )
    else:
        why = (
            f"{found['linked']:.0%} of the keyframes match another one well enough; film slower "
            "and steadier, walk around, and avoid mirrors, moving objects and blank "
            "walls"
        )
    if blurred:
        why += f". {blurred} frames are blurred: far less sharp than most"
    return NotReconstructedError(
        f"{where}: only {registered} of {of} frames could be registered, less than "
        f"{least:.0%} (reconstruction.min_registered); {why}"
    )
