"""Distances to the surfaces of a room: nearest-point queries and ray casting.

Triangles are grouped by proximity; a group is skipped if its bounding box shows that it is
irrelevant.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float
from numba import njit

from anchorweave.recordings.procedural_rooms.rasterizing import COMPILED, inverse_corners

# Triangles per group; consecutive ones are close, because furniture is built part by part.
GROUP = 20


class SurfaceSearch:
    """Searches triangles [F, 3, 3] (float32)."""

    def __init__(self, corners: Float[np.ndarray, "F 3 3"]):
        self._corners = corners
        starts = np.arange(0, len(corners), GROUP)
        self._low = np.minimum.reduceat(corners.min(axis=1), starts)
        self._high = np.maximum.reduceat(corners.max(axis=1), starts)

    def distances(self, points: Float[np.ndarray, "P 3"]) -> Float[np.ndarray, " P"]:
        """Distance from points to the nearest surface, in metres, float32."""
        distances = np.empty(len(points), np.float32)
        _nearest(self._corners, self._low, self._high, points.astype(np.float64), distances)
        return distances

    def views(
        self, points: Float[np.ndarray, "P 3"], directions: Float[np.ndarray, "P 3"]
    ) -> Float[np.ndarray, " P"]:
        """Distance along each ray to the first hit, in ray lengths; infinite = no hit."""
        distances = np.empty(len(points), np.float32)
        origins, rays = points.astype(np.float64), directions.astype(np.float64)
        _meet(self._corners, self._low, self._high, origins, rays, distances)
        return distances


@njit(**COMPILED)
@no_type_check
def _nearest(corners, low, high, points, found):
    guess = 0
    for i in range(len(points)):
        p = points[i]
        # Neighbouring points often share the nearest surface, which prunes the search.
        best = _squared_distance(corners, guess, p)
        for group in range(len(low)):
            bound = 0.0
            for axis in range(3):
                off = max(low[group, axis] - p[axis], p[axis] - high[group, axis], 0.0)
                bound += off * off
            if bound >= best:
                continue
            for f in range(group * GROUP, min((group + 1) * GROUP, len(corners))):
                squared = _squared_distance(corners, f, p)
                if squared < best:
                    best, guess = squared, f
        found[i] = np.sqrt(best)


@njit(**COMPILED)
@no_type_check
def _squared_distance(corners, f, p):
    """Squared distance of a point to a triangle: to its plane if above it, else to its edges."""
    px, py, pz = p[0] - corners[f, 0, 0], p[1] - corners[f, 0, 1], p[2] - corners[f, 0, 2]
    bx, by, bz = _step(corners, f, 0, 1)
    cx, cy, cz = _step(corners, f, 0, 2)
    nx, ny, nz = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
    area = nx * nx + ny * ny + nz * nz
    # Barycentric coordinates of the point's projection onto the plane.
    b = (nx * (py * cz - pz * cy) + ny * (pz * cx - px * cz) + nz * (px * cy - py * cx)) / area
    c = (nx * (by * pz - bz * py) + ny * (bz * px - bx * pz) + nz * (bx * py - by * px)) / area
    if b >= 0 and c >= 0 and b + c <= 1:
        return (px * nx + py * ny + pz * nz) ** 2 / area
    return min(
        _to_edge(corners, f, 0, 1, p), _to_edge(corners, f, 1, 2, p), _to_edge(corners, f, 2, 0, p)
    )


@njit(**COMPILED, inline="always")
@no_type_check
def _step(corners, f, i, j):
    return (
        np.float64(corners[f, j, 0]) - np.float64(corners[f, i, 0]),
        np.float64(corners[f, j, 1]) - np.float64(corners[f, i, 1]),
        np.float64(corners[f, j, 2]) - np.float64(corners[f, i, 2]),
    )


@njit(**COMPILED)
@no_type_check
def _to_edge(corners, f, i, j, p):
    ex, ey, ez = _step(corners, f, i, j)
    x, y, z = p[0] - corners[f, i, 0], p[1] - corners[f, i, 1], p[2] - corners[f, i, 2]
    along = (x * ex + y * ey + z * ez) / (ex * ex + ey * ey + ez * ez)
    along = min(max(along, 0.0), 1.0)
    x, y, z = x - along * ex, y - along * ey, z - along * ez
    return x * x + y * y + z * z


@njit(**COMPILED)
@no_type_check
def _meet(corners, low, high, points, directions, found):
    inverse = np.empty(3)
    for i in range(len(points)):
        p, d = points[i], directions[i]
        for axis in range(3):
            # Finite, so that 0 times it is 0 for rays within a side of a box.
            inverse[axis] = 1 / d[axis] if d[axis] != 0 else 1e300
        best = np.inf
        for group in range(len(low)):
            if not _passes(low[group], high[group], p, inverse, best):
                continue
            for f in range(group * GROUP, min((group + 1) * GROUP, len(corners))):
                m = inverse_corners(corners, f, p)
                b0 = m[0] * d[0] + m[1] * d[1] + m[2] * d[2]
                b1 = m[3] * d[0] + m[4] * d[1] + m[5] * d[2]
                b2 = m[6] * d[0] + m[7] * d[1] + m[8] * d[2]
                if b0 >= 0 and b1 >= 0 and b2 >= 0 and (b0 + b1 + b2) * best > 1:
                    best = 1 / (b0 + b1 + b2)
        found[i] = best


@njit(**COMPILED, inline="always")
@no_type_check
def _passes(low, high, p, inverse, best):
    """Whether a ray enters a box before distance `best`."""
    enters, leaves = 0.0, best
    for axis in range(3):
        one, other = (low[axis] - p[axis]) * inverse[axis], (high[axis] - p[axis]) * inverse[axis]
        first, last = (one, other) if one < other else (other, one)
        enters = first if first > enters else enters
        leaves = last if last < leaves else leaves
    # Slightly widened, because flat boxes are entered and left at once.
    return enters <= leaves * (1 + 1e-9)
