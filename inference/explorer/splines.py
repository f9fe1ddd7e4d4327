"""Smooth curves through keyframes: of places, and of rotations."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.geometry.cameras import rotation_angle

# Rotations that differ by half a turn, to within so many degrees, have no shorter way between them.
AMBIGUOUS = 0.5


def refuse_half_turns(rotations: Float[Tensor, "n 3 3"]) -> None:
    """Refuse a path that does not say which way round it turns.

    Args:
        rotations: of the camera that the path begins at, and of its keyframes.

    Raises:
        ValueError: two neighbours are half a turn apart; which, and what to do.
    """
    for i, turn in enumerate(degrees_between(rotations).tolist()):
        if turn > 180 - AMBIGUOUS:
            before = f"keyframe {i}" if i else "the beginning of the path"
            raise ValueError(
                f"{before} and keyframe {i + 1} are half a turn apart ({turn:.1f} degrees), and "
                "nothing says which way round; put a keyframe between them, or turn one of them"
            )


def places_at(
    centres: Float[Tensor, "n 3"], at: Float[Tensor, " n"], times: Float[Tensor, " T"]
) -> Float[Tensor, "T 3"]:
    """Places on a cubic through `centres`, whose tangents are those of parabolas through three.

    Args:
        centres: of three keyframes or more.
        at: when each is passed, ascending.
        times: from the first of them to the last.
    """
    gaps = at[1:] - at[:-1]
    slopes = (centres[1:] - centres[:-1]) / gaps[:, None]
    inner = (slopes[:-1] * gaps[1:, None] + slopes[1:] * gaps[:-1, None]) / (gaps[:-1] + gaps[1:])[
        :, None
    ]
    tangents = torch.cat([slopes[:1], inner, slopes[-1:]])
    after = torch.searchsorted(at, times).clamp(1, len(at) - 1)
    before, gap = after - 1, gaps[after - 1][:, None]
    s = (times - at[before])[:, None] / gap
    return (
        (1 + 2 * s) * (1 - s) ** 2 * centres[before]
        + s * (1 - s) ** 2 * gap * tangents[before]
        + s**2 * (3 - 2 * s) * centres[after]
        + s**2 * (s - 1) * gap * tangents[after]
    )


def rotations_at(
    rotations: Float[Tensor, "n 3 3"], at: Float[Tensor, " n"], times: Float[Tensor, " T"]
) -> Float[Tensor, "T 3 3"]:
    """Rotations on a spline through `rotations`; angular velocity and acceleration have no jumps.

    Args:
        rotations: of two keyframes or more, no two neighbours half a turn apart.
        at: when each is passed, ascending.
        times: from the first of them to the last.

    Source: scipy's RotationSpline.
    """
    # Only who draws a path waits for scipy's imports.
    from scipy.spatial.transform import Rotation, RotationSpline

    known = Rotation.from_matrix(rotations.double().numpy())
    found = RotationSpline(at.double().numpy(), known)(times.double().numpy())
    return torch.from_numpy(found.as_matrix()).to(rotations)


def degrees_between(rotations: Float[Tensor, "n 3 3"]) -> Float[Tensor, " n-1"]:
    """How far each rotation is from the one before, in degrees [0, 180]."""
    return rotation_angle(rotations[:-1].double(), rotations[1:].double()).rad2deg()
