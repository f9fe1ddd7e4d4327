"""Smooth curves through keyframes: positions and rotations."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.geometry.cameras import rotation_angle

# Rotations within this many degrees of a half turn have no unique shortest path.
AMBIGUOUS = 0.5


def refuse_half_turns(rotations: Float[Tensor, "n 3 3"]) -> None:
    """Rejects a path with an ambiguous half turn.

    Args:
        rotations: rotations of the start camera and the keyframes.

    Raises:
        ValueError: two neighbours are half a turn apart; the message says which, and what to do.
    """
    for i, turn in enumerate(degrees_between(rotations).tolist()):
        if turn > 180 - AMBIGUOUS:
            before = f"keyframe {i}" if i else "the beginning of the path"
            raise ValueError(
                f"{before} and keyframe {i + 1} are half a turn apart ({turn:.1f} degrees), so "
                "the rotation is ambiguous; add a keyframe in between, or rotate one of them"
            )


def places_at(
    centres: Float[Tensor, "n 3"], at: Float[Tensor, " n"], times: Float[Tensor, " T"]
) -> Float[Tensor, "T 3"]:
    """Positions on a cubic spline through `centres`, with tangents from parabolas through three.

    Args:
        centres: positions of three or more keyframes.
        at: time of each keyframe, ascending.
        times: times to evaluate, from the first to the last.
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
    """Rotations on a spline with continuous angular velocity and acceleration.

    Args:
        rotations: rotations of two or more keyframes, no two neighbours half a turn apart.
        at: time of each keyframe, ascending.
        times: times to evaluate, from the first to the last.

    Source: scipy's RotationSpline.
    """
    # Imported here, because scipy is slow to import.
    from scipy.spatial.transform import Rotation, RotationSpline

    keys = Rotation.from_matrix(rotations.double().numpy())
    spline = RotationSpline(at.double().numpy(), keys)(times.double().numpy())
    return torch.from_numpy(spline.as_matrix()).to(rotations)


def degrees_between(rotations: Float[Tensor, "n 3 3"]) -> Float[Tensor, " n-1"]:
    """Angle between consecutive rotations, in degrees [0, 180]."""
    return rotation_angle(rotations[:-1].double(), rotations[1:].double()).rad2deg()
