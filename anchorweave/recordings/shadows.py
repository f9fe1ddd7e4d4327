"""Shadows: which triangle every direction from a point of the lamp meets first.

These maps only say where to look: whether a triangle that they name stands between the lamp and a
point is decided exactly, so that shadows have no steps and nothing shadows itself.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int32
from numba import njit

from anchorweave.recordings.rasterizing import (
    COMPILED,
    NOTHING,
    View,
    in_blocks,
    inverse_corners,
    seen_triangles,
)

# Directions along an edge of each of a cube's faces: at 3 m, 12 mm apart.
SIDE = 512
# In metres; nothing nearer to the lamp casts a shadow.
NEAR_LAMP = 0.05
# A triangle blocks what lies this share of the way behind it; a point is not blocked by its own.
BEHIND = 1.002
# In metres; a triangle's plane beyond its edges blocks only what lies well behind it.
WELL_BEHIND = 0.02


def lamp_maps(
    corners: Float[np.ndarray, "F 3 3"], points: Float[np.ndarray, "L 3"]
) -> Int32[np.ndarray, "L 6 SIDE SIDE"]:
    """The triangle that every direction from each point meets first.

    Face 2 * axis is seen along +axis, face 2 * axis + 1 along -axis; the two axes that follow it
    run over a face's columns and rows.
    """
    blocks = in_blocks(corners)
    maps = np.empty((len(points), 6, SIDE, SIDE), np.int32)
    for point, faces in zip(points, maps, strict=True):
        for face in range(6):
            view = _face_view(point.astype(np.float64), face)
            faces[face] = seen_triangles(corners, blocks, view, NEAR_LAMP)
    return maps


def _face_view(eye: Float[np.ndarray, "3"], face: int) -> View:
    axes = np.roll(np.eye(3), -(face // 2), axis=0)
    forward, right, down = (-axes[0] if face % 2 else axes[0]), axes[1], axes[2]
    step = 2 / SIDE
    rays = np.stack([forward - right - down, step * right, step * down])
    image = np.stack([(right + forward) / step, (down + forward) / step, forward])
    return View(eye, rays, image, (SIDE, SIDE))


@njit(**COMPILED)
@no_type_check
def is_blocked(corners, faces, lamp, own, x, y, z):
    """Whether anything stands between a point of the lamp and a point on the triangle `own`."""
    dx, dy, dz = x - lamp[0], y - lamp[1], z - lamp[2]
    if abs(dx) >= abs(dy) and abs(dx) >= abs(dz):
        face, ahead, u, v = 0, dx, dy, dz
    elif abs(dy) >= abs(dz):
        face, ahead, u, v = 2, dy, dz, dx
    else:
        face, ahead, u, v = 4, dz, dx, dy
    if ahead < 0:
        face, ahead = face + 1, -ahead
    half = 0.5 * SIDE
    column, row = half * (u / ahead + 1) - 0.5, half * (v / ahead + 1) - 0.5
    column, row = min(max(column, 0), SIDE - 1.001), min(max(row, 0), SIDE - 1.001)
    c, r = np.int64(column), np.int64(row)
    upper, lower = faces[face, r], faces[face, r + 1]
    around = (upper[c], upper[c + 1], lower[c], lower[c + 1])
    if around[0] == own and around[1] == own and around[2] == own and around[3] == own:
        return False
    distance = np.sqrt(dx * dx + dy * dy + dz * dz)
    well_behind = 1 + WELL_BEHIND / distance
    lit, known = False, np.int64(NOTHING)
    for f in around:
        if f == NOTHING or f == own:
            lit = True
            continue
        if f == known:
            continue
        known = f
        m = inverse_corners(corners, f, lamp)
        b0 = m[0] * dx + m[1] * dy + m[2] * dz
        b1 = m[3] * dx + m[4] * dy + m[5] * dz
        b2 = m[6] * dx + m[7] * dy + m[8] * dz
        # How many times as far as the triangle's plane the point is.
        times = b0 + b1 + b2
        if times > BEHIND and b0 >= 0 and b1 >= 0 and b2 >= 0:
            return True
        lit |= not times > well_behind
    # Directions all around that meet something else first: a gap finer than the map.
    return not lit
