"""What a reconstruction came to, and why it is refused where it came to too little."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Of the widest pairs that share enough: so many explained by a turn are a camera on the spot.
TURNING = 0.8
# Median shift of what they share, in shares of the image, below which a camera stands still.
STANDING = 0.003
# Below so many features an image is blurred, dark or blank.
FEW_FEATURES = 150
# Median angle under which points are seen by the two views furthest apart, in degrees.
LITTLE_PARALLAX = 2.0


class NotReconstructedError(ValueError):
    """Too few frames could be registered; the message says why, as far as is known."""


@dataclass(frozen=True)
class ReconstructionReport:
    """What a reconstruction came to.

    Args:
        frames: of the footage.
        keyframes: of these.
        registered: frames that have a camera.
        points: sparse points.
        error: mean distance in pixels between points and where frames see them.
        parallax: median over points of the widest angle that two views see one under, in degrees.
        camera: COLMAP's name of the lens model, and its parameters in pixels.
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
        """What is printed."""
        name, params = self.camera
        told = [
            f"registered {self.registered} of {self.frames} frames ({self.keyframes} keyframes), "
            f"{self.points} points, reprojection error {self.error:.2f} px",
            f"camera: {name} {' '.join(f'{value:.4g}' for value in params)}; parallax "
            f"{self.parallax:.1f} degrees (median over points)",
        ]
        if self.parallax < LITTLE_PARALLAX:
            told.append(
                "little parallax: lengths along the view are uncertain; a path with steps aside "
                "would fix them"
            )
        if self.unregistered:
            shown = ", ".join(self.unregistered[:5])
            more = len(self.unregistered) - 5
            told.append(f"left out: {shown}" + (f" and {more} more" if more > 0 else ""))
        return told


def refusal(
    where: object,
    found: Mapping[str, Any],
    registered: int,
    of: int,
    least: float,
    sharpness: Sequence[float],
) -> NotReconstructedError:
    """An error with the registered share, and what would help.

    Args:
        where: the footage.
        found: what the worker found, see `worker.py`.
        registered: frames that have a camera.
        of: frames that should.
        least: share that is asked for.
        sharpness: of the frames, the more the sharper.
    """
    features = sorted(found["features"])
    median = features[len(features) // 2]
    sharp = sorted(sharpness)
    blurred = sum(value < 0.1 * sharp[len(sharp) // 2] for value in sharp)
    if found["linked"] and found["shift"] < STANDING:
        why = (
            "the camera stands still: what is seen does not shift, so there is no parallax; walk "
            "around what you film"
        )
    elif found["linked"] and found["turns"] >= TURNING:
        why = (
            f"the camera only turns on the spot: a rotation explains {found['turns']:.0%} of the "
            "pairs of frames, so there is no parallax, and neither positions nor depths can be "
            "known; step aside while you film"
        )
    elif median < FEW_FEATURES:
        why = (
            f"half of the frames show fewer than {median + 1} features: they are blurred, dark or "
            "blank; film slower, in more light, and of things with texture"
        )
    elif len(found["pieces"]) > 1:
        sizes = ", ".join(map(str, found["pieces"][:5]))
        why = (
            f"the frames fall into pieces of {sizes} keyframes that share too little; film slower, "
            "without cuts, and let every view overlap the one before (a higher "
            "reconstruction.fps= or a smaller reconstruction.motion= takes more of what there is)"
        )
    else:
        why = (
            f"{found['linked']:.0%} of the keyframes share enough with another one; film slower "
            "and steadier, walk around what you film, and avoid mirrors, moving things and blank "
            "walls"
        )
    if blurred:
        why += f". {blurred} frames are blurred: far less sharp than most"
    return NotReconstructedError(
        f"{where}: only {registered} of {of} frames could be registered, less than "
        f"{least:.0%} (reconstruction.min_registered); {why}"
    )
