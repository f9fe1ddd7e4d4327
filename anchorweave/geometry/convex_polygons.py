"""Convex polygons in a plane: convex hulls of small point sets, and pairwise overlap areas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int64
from numba import njit
from torch import Tensor

from anchorweave.geometry.threads import in_threads

COMPILED = {"nogil": True, "cache": True, "error_model": "numpy"}


@dataclass(frozen=True)
class ConvexPolygons:
    """N convex polygons with counter-clockwise corners.

    Args:
        corners: [N, V, 2]; entries past a polygon's own corner count are unused.
        counts: number of corners of each polygon [N].
    """

    corners: Float[Tensor, "N V 2"]
    counts: Int64[Tensor, " N"]

    def __len__(self) -> int:
        return len(self.corners)

    def areas(self) -> Float[Tensor, " N"]:
        """The area of each polygon [N], in squared units of the corners."""
        areas = np.empty(len(self), np.float64)
        _areas(self.corners.numpy(), self.counts.numpy(), areas)
        return torch.from_numpy(areas)


def convex_hulls(points: Float[Tensor, "N P 2"]) -> ConvexPolygons:
    """The convex hulls of N sets of P >= 1 points.

    Raises:
        ValueError: empty point sets, or NaN or infinite coordinates.
    """
    if points.shape[1] == 0 or not points.isfinite().all():
        raise ValueError(
            f"a hull needs one or more points with finite coordinates, got {points.shape[1]} "
            f"points per set with {int((~points.isfinite()).sum())} non-finite coordinates"
        )
    exact = points.to("cpu", torch.float64).contiguous()
    N, P = exact.shape[:2]
    # The chain visits the outermost points twice and every other point once or twice.
    corners, counts = np.zeros((N, 2 * P, 2)), np.empty(N, np.int64)
    _hulls(exact.numpy(), corners, counts)
    return ConvexPolygons(torch.from_numpy(corners), torch.from_numpy(counts))


def shared_areas(a: ConvexPolygons, b: ConvexPolygons) -> Float[Tensor, "A B"]:
    """Intersection area of each polygon of `a` with each of `b` [A, B], in squared units."""
    areas = np.empty((len(a), len(b)), np.float64)
    arrays = [part.numpy() for part in (a.corners, a.counts, b.corners, b.counts)]

    def fill(worker: int, workers: int) -> None:
        _shared(*arrays, worker, workers, areas)

    in_threads(fill, len(b))
    return torch.from_numpy(areas)


@njit(**COMPILED)
@no_type_check
def _hulls(points, corners, counts):
    """Andrew's monotone chain (1979): the lower chain left to right, then the upper one back."""
    for n in range(len(points)):
        order = np.argsort(points[n, :, 1], kind="mergesort")
        order = order[np.argsort(points[n, order, 0], kind="mergesort")]
        count = _chain(points[n][order], corners[n], 0)
        # Each chain ends where the other begins.
        count = _chain(points[n][order[::-1]], corners[n], count - 1)
        counts[n] = max(count - 1, 1)


@njit(**COMPILED)
@no_type_check
def _chain(points, corners, start):
    count = start
    for i in range(len(points)):
        while count >= start + 2:
            turn = _cross(corners[count - 2], corners[count - 1], points[i])
            if turn > 0:
                break
            count -= 1
        corners[count] = points[i]
        count += 1
    return count


@njit(**COMPILED)
@no_type_check
def _cross(p, q, r):
    """Twice the signed area of the triangle: positive if p, q, r turn left."""
    return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])


@njit(**COMPILED)
@no_type_check
def _area(corners, count):
    total = 0.0
    for i in range(1, count - 1):
        total += _cross(corners[0], corners[i], corners[i + 1])
    return total / 2


@njit(**COMPILED)
@no_type_check
def _areas(corners, counts, found):
    for n in range(len(corners)):
        found[n] = _area(corners[n], counts[n])


@njit(**COMPILED)
@no_type_check
def _shared(a, a_counts, b, b_counts, first, step, found):
    # Clipping a convex polygon by a line adds at most one corner.
    room = a.shape[1] + b.shape[1]
    now, then = np.empty((room, 2)), np.empty((room, 2))
    for j in range(first, len(b), step):
        for i in range(len(a)):
            count = a_counts[i]
            now[:count] = a[i, :count]
            for k in range(b_counts[j]):
                count = _clip(now, count, b[j, k], b[j, (k + 1) % b_counts[j]], then)
                now, then = then, now
            # A degenerate clip polygon has no interior.
            found[i, j] = _area(now, count) if b_counts[j] > 2 else 0.0


@njit(**COMPILED)
@no_type_check
def _clip(corners, count, p, q, kept):
    """Keeps the part left of the line from p to q (Sutherland and Hodgman, 1974)."""
    left = 0
    for i in range(count):
        here, after = corners[i], corners[(i + 1) % count]
        side, other = _cross(p, q, here), _cross(p, q, after)
        if side >= 0:
            kept[left] = here
            left += 1
        if side * other < 0:
            share = side / (side - other)
            kept[left, 0] = here[0] + share * (after[0] - here[0])
            kept[left, 1] = here[1] + share * (after[1] - here[1])
            left += 1
    return left
