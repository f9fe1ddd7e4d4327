"""Shadow maps: the first triangle hit in every direction from a point of the lamp.

The maps only propose occluders: whether a proposed triangle lies between the lamp and a point is
decided exactly, so shadows have no aliasing and no self-shadowing.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int32
from numba import njit

from anchorweave.recordings.pinhole_view import View
from anchorweave.recordings.procedural_rooms.rasterizing import (
    COMPILED,
    NOTHING,
    in_blocks,
    seen_triangles,
)

# Resolution of each cube face: 12 mm at a distance of 3 m.
SIDE = 512
# In metres; nothing nearer to the lamp casts a shadow.
NEAR_LAMP = 0.05
# A triangle occludes points farther than this factor behind it; never points on itself.
BEHIND = np.float32(1.002)
# In metres; a triangle's plane beyond its edges occludes only points well behind it.
WELL_BEHIND = np.float32(0.02)
# Relation of a triangle to a light ray: it blocks it, only its plane is in front, or neither.
BLOCKS, BEFORE, BESIDE = 2, 1, 0


def lamp_maps(
    corners: Float[np.ndarray, "F 3 3"], points: Float[np.ndarray, "L 3"]
) -> Int32[np.ndarray, "L 6 SIDE SIDE"]:
    """The first triangle hit in every direction from each point.

    Face 2 * axis looks along +axis, face 2 * axis + 1 along -axis; the two following axes are a
    face's columns and rows.
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
def cast_shadows(corners, maps, triangles, points, lamps, first, step, light):
    """Removes the lamp's light from occluded points of a row.

    Args:
        corners: corners of all triangles.
        maps: as returned by `lamp_maps`.
        triangles: the triangles that the points lie on [W]; `NOTHING`: no point.
        points: [3, W], slightly in front of their triangles.
        lamps: the points of the lamp that light them [3, W].
        first: which of the lamp's points lights the first point; the others alternate.
        step: number of alternating lamp points.
        light: light of the lamp [W], modified in place.
    """
    at = np.empty(triangles.size, np.int32)
    _find_directions(points, lamps, first, step, maps.shape[3], at)
    nearest, right, below = maps.ravel(), np.uint64(1), np.uint64(maps.shape[3])
    for j in range(triangles.size):
        own = triangles[j]
        if own != NOTHING and light[j] > 0:
            start = np.uint64(at[j])
            a, b = nearest[start], nearest[start + right]
            c, d = nearest[start + below], nearest[start + below + right]
            # If all four directions hit the point's own triangle, nothing occludes it.
            if (a != own or b != own or c != own or d != own) and _is_blocked(
                corners, a, b, c, d, own, lamps[:, j], points[:, j]
            ):
                light[j] = 0


@njit(**COMPILED)
@no_type_check
def _find_directions(points, lamps, first, step, side, at):
    """Flattened map indices of the four directions around each point's direction [W]."""
    # Only arithmetic and selects in the loop, so that the compiler vectorises it.
    xs, ys, zs, lx, ly, lz = points[0], points[1], points[2], lamps[0], lamps[1], lamps[2]
    half, last, zero = np.float32(0.5 * side), np.float32(side - 1.001), np.float32(0)
    middle, edge = half - np.float32(0.5), np.int32(side)
    for j in range(xs.size):
        dx, dy, dz = xs[j] - lx[j], ys[j] - ly[j], zs[j] - lz[j]
        wide, high, deep = abs(dx), abs(dy), abs(dz)
        along_x = (wide >= high) & (wide >= deep)
        along_y = high >= deep
        ahead = dx if along_x else (dy if along_y else dz)
        u = dy if along_x else (dz if along_y else dx)
        v = dz if along_x else (dx if along_y else dy)
        face = np.int32(0) if along_x else (np.int32(2) if along_y else np.int32(4))
        face += np.int32(1) if ahead < zero else np.int32(0)
        scale = half / abs(ahead)
        column, row = u * scale + middle, v * scale + middle
        column, row = column if column > zero else zero, row if row > zero else zero
        column, row = column if column < last else last, row if row < last else last
        which = np.int32(first + j % step)
        face = which * np.int32(6) + face
        at[j] = (face * edge + np.int32(row)) * edge + np.int32(column)


@njit(**COMPILED)
@no_type_check
def _is_blocked(corners, a, b, c, d, own, lamp, point):
    """Whether one of the triangles a, b, c, d occludes a point of `own` from the lamp.

    They are the first hits of the four directions around the point's direction.
    """
    dx, dy, dz = point[0] - lamp[0], point[1] - lamp[1], point[2] - lamp[2]
    first = _stands_between(corners, a, own, lamp, dx, dy, dz)
    if first == BLOCKS:
        return True
    second = first if b == a else _stands_between(corners, b, own, lamp, dx, dy, dz)
    if second == BLOCKS:
        return True
    third = first if c == a else _stands_between(corners, c, own, lamp, dx, dy, dz)
    if third == BLOCKS:
        return True
    fourth = second if d == b else _stands_between(corners, d, own, lamp, dx, dy, dz)
    # All directions around hit something else first: a gap finer than the map.
    return fourth == BLOCKS or first + second + third + fourth == 4 * BEFORE


@njit(**COMPILED)
@no_type_check
def _stands_between(corners, triangle, own, lamp, dx, dy, dz):
    if triangle == own or triangle == NOTHING:
        return BESIDE
    f = np.uint64(triangle)
    lx, ly, lz = lamp[0], lamp[1], lamp[2]
    ax, ay, az = corners[f, 0, 0] - lx, corners[f, 0, 1] - ly, corners[f, 0, 2] - lz
    bx, by, bz = corners[f, 1, 0] - lx, corners[f, 1, 1] - ly, corners[f, 1, 2] - lz
    cx, cy, cz = corners[f, 2, 0] - lx, corners[f, 2, 1] - ly, corners[f, 2, 2] - lz
    ux, uy, uz, vx, vy, vz = bx - ax, by - ay, bz - az, cx - ax, cy - ay, cz - az
    nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    # Distance of the point relative to that of the triangle's plane.
    times = (nx * dx + ny * dy + nz * dz) / (nx * ax + ny * ay + nz * az)
    if not times > BEHIND:
        return BESIDE
    p = dx * (by * cz - bz * cy) + dy * (bz * cx - bx * cz) + dz * (bx * cy - by * cx)
    q = dx * (cy * az - cz * ay) + dy * (cz * ax - cx * az) + dz * (cx * ay - cy * ax)
    r = dx * (ay * bz - az * by) + dy * (az * bx - ax * bz) + dz * (ax * by - ay * bx)
    if (p >= 0 and q >= 0 and r >= 0) or (p <= 0 and q <= 0 and r <= 0):
        return BLOCKS
    distance = np.sqrt(dx * dx + dy * dy + dz * dz)
    return BEFORE if (times - np.float32(1)) * distance > times * WELL_BEHIND else BESIDE
