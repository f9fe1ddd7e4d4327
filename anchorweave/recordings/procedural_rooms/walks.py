"""Smooth camera walks with revisits: pan away, move on, come back."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from numpy.random import Generator
from torch import Tensor

from anchorweave.errors import EndedError

# At 8 frames per second a lap takes nine seconds: half a metre and about 40 degrees per second; in
# a clip of 49 frames the gaze leaves and returns.
FRAMES_A_LAP = 72
# Rotation of the mean gaze per lap, so that long walks see the whole room.
HOME_TURN_A_LAP = 0.7
SWAY = 0.9
EYE_HEIGHT = 1.5
# Minimum distance of the camera to anything, in metres.
CLEARANCE = 0.3
CANDIDATES = 24


def look_along(
    centres: Float[Tensor, "T 3"], yaw: Float[Tensor, " T"], pitch: Float[Tensor, " T"]
) -> Float[Tensor, "T 4 4"]:
    """Upright camera-to-world in a z-up world; yaw 0 looks along +x, pitch > 0 upwards."""
    zero = torch.zeros_like(yaw)
    forward = torch.stack([yaw.cos() * pitch.cos(), yaw.sin() * pitch.cos(), pitch.sin()], dim=-1)
    right = torch.stack([yaw.sin(), -yaw.cos(), zero], dim=-1)
    c2w = torch.eye(4, dtype=centres.dtype).repeat(len(centres), 1, 1)
    c2w[:, :3, 0], c2w[:, :3, 2], c2w[:, :3, 3] = right, forward, centres
    c2w[:, :3, 1] = torch.linalg.cross(forward, right)
    return c2w


def free_walk(
    rng: Generator,
    extent: tuple[float, float, float],
    frames: int,
    distances: Callable[[np.ndarray], np.ndarray],
    views: Callable[[np.ndarray, np.ndarray], np.ndarray],
    lap: int = FRAMES_A_LAP,
) -> Float[Tensor, "T 4 4"]:
    """The camera-to-world [T, 4, 4] of a collision-free walk.

    The best of many random walks, by the length of its views.

    Args:
        rng: random generator.
        extent: the room's length along x, y, z in metres.
        frames: T.
        distances: distance to the nearest surface [P] of points [P, 3].
        views: free view distance [P] from points [P, 3] along directions [P, 3].
        lap: frames per lap: more is slower.

    Raises:
        RuntimeError: no collision-free walk was found in this room.
    """
    laps = torch.arange(frames, dtype=torch.float64) / lap
    best, best_view = None, 0.0
    for attempt in range(4 * CANDIDATES):
        c2w = _random_walk(rng, extent, laps, reach=1.0 / (1 + attempt / CANDIDATES))
        points, forward = c2w[:, :3, 3].float().numpy(), c2w[:, :3, 2].float().numpy()
        if distances(points).min() < CLEARANCE:
            continue
        view = float(np.median(views(points, forward)))
        if view > best_view:
            best, best_view = c2w, view
        if attempt >= CANDIDATES and best is not None:
            break
    if best is None:
        raise EndedError(f"no walk keeps {CLEARANCE} m clear of the furniture; use another seed")
    return best


def _random_walk(rng: Generator, extent, laps: Tensor, reach: float) -> Tensor:
    x, y, _ = extent
    middle = np.array([x, y]) / 2 + rng.uniform(-0.2, 0.2, 2) * np.array([x, y])
    radii = rng.uniform(0.35, 0.8, 2) * reach
    start, home = rng.uniform(0, 2 * math.pi, 2)
    angle = 2 * math.pi * laps + start
    bob = 0.06 * torch.sin(2 * angle)
    centres = torch.stack(
        [middle[0] + radii[0] * angle.cos(), middle[1] + radii[1] * angle.sin(), EYE_HEIGHT + bob],
        -1,
    )
    yaw = home + HOME_TURN_A_LAP * laps + SWAY * torch.sin(2 * math.pi * laps)
    pitch = -0.22 + 0.06 * torch.sin(2 * math.pi * 1.5 * laps)
    return look_along(centres, yaw, pitch)
