"""Smoothing on the CPU: as `cost_volume_torch` up to rounding, several times faster.

Values that the compiler can vectorise are kept side by side: columns for paths up and down, planes
for paths left and right. Blocks of columns, and rows, are distributed over threads.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import njit
from torch import Tensor

from anchorweave.geometry.threads import in_threads
from anchorweave.perception.photo_cost_numba import COMPILED

BLOCK = 128  # columns smoothed at a time: a path of 96 planes is 48 kB


def semi_global(
    cost: Float[Tensor, "D H W"], jumps: tuple[Tensor, Tensor], small_jump: float
) -> Float[Tensor, "D H W"]:
    """As `cost_volume_torch.semi_global`, for tensors on the CPU."""
    D, H, W = cost.shape
    volume = cost.contiguous().numpy()
    dtype = volume.dtype
    down, across = (jump.contiguous().numpy() for jump in jumps)
    total = np.empty((D, H, W), dtype)
    small = dtype.type(small_jump)

    def columns(worker: int, workers: int) -> None:
        paths = np.empty((2, D, BLOCK), dtype)
        floors = np.empty((3, BLOCK), dtype)
        for start in range(worker * BLOCK, W, workers * BLOCK):
            stop = min(start + BLOCK, W)
            block = (slice(None), slice(None), slice(start, stop))
            _walk_down(volume[block], down[:, start:stop], small, paths, floors, total[block])

    def rows(worker: int, workers: int) -> None:
        lines = np.empty((2, W, D), dtype)
        paths = np.empty((2, D), dtype)
        for y in range(worker, H, workers):
            _walk_across(volume[:, y], across[y], small, lines, paths, total[:, y])

    in_threads(columns, -(-W // BLOCK))
    in_threads(rows, H)
    return torch.from_numpy(total)


@njit(**COMPILED)
@no_type_check
def _walk_down(cost, jump, small, paths, floors, total):
    """Path costs from above and from below, written to `total`, all [D, H, columns]."""
    planes, height, width = cost.shape
    for backward in range(2):
        for step in range(height):
            y = height - 1 - step if backward else step
            before, path = paths[step % 2], paths[1 - step % 2]
            floor, limit, lowest = floors[step % 2], floors[2], floors[1 - step % 2]
            if step > 0:
                between = jump[y if backward else y - 1]
                for x in range(width):
                    limit[x] = floor[x] + between[x]
            for d in range(planes):
                values, result, summed = cost[d, y], path[d], total[d, y]
                if step == 0:
                    for x in range(width):
                        result[x] = values[x]
                else:
                    # At the first and last plane a neighbour is missing; a path's own plane is
                    # always cheaper than a step away from it and back.
                    same = before[d]
                    nearer, farther = before[max(d - 1, 0)], before[min(d + 1, planes - 1)]
                    for x in range(width):
                        best = nearer[x] if nearer[x] < farther[x] else farther[x]
                        best = best + small
                        best = same[x] if same[x] < best else best
                        best = limit[x] if limit[x] < best else best
                        result[x] = values[x] + (best - floor[x])
                if backward:
                    for x in range(width):
                        summed[x] += result[x]
                else:
                    for x in range(width):
                        summed[x] = result[x]
                if d == 0:
                    for x in range(width):
                        lowest[x] = result[x]
                else:
                    for x in range(width):
                        lowest[x] = result[x] if result[x] < lowest[x] else lowest[x]


@njit(**COMPILED)
@no_type_check
def _walk_across(cost, jump, small, lines, paths, total):
    """Path costs from the left and from the right, added to `total`, all [D, W]."""
    planes, width = cost.shape
    costs, sums = lines
    for d in range(planes):
        for x in range(width):
            costs[x, d] = cost[d, x]
    for backward in range(2):
        for step in range(width):
            x = width - 1 - step if backward else step
            before, path = paths[step % 2], paths[1 - step % 2]
            values, summed = costs[x], sums[x]
            if step == 0:
                for d in range(planes):
                    path[d] = values[d]
            else:
                floor = before[0]
                for d in range(1, planes):
                    floor = before[d] if before[d] < floor else floor
                limit = floor + jump[x if backward else x - 1]
                for d in range(planes):
                    best = before[d] if before[d] < limit else limit
                    path[d] = values[d] + (best - floor)
                for d in range(1, planes):
                    stepped = before[d - 1] + small - floor + values[d]
                    path[d] = stepped if stepped < path[d] else path[d]
                for d in range(planes - 1):
                    stepped = before[d + 1] + small - floor + values[d]
                    path[d] = stepped if stepped < path[d] else path[d]
            if backward:
                for d in range(planes):
                    summed[d] += path[d]
            else:
                for d in range(planes):
                    summed[d] = path[d]
    for d in range(planes):
        for x in range(width):
            total[d, x] += sums[x, d]


def lowest_plane(cost: Float[Tensor, "D H W"]) -> Int[Tensor, "H W"]:
    """As `cost_volume_torch.lowest_plane`, for tensors on the CPU."""
    volume = cost.contiguous().numpy()
    best = np.empty(volume.shape[1:], np.int32)

    def work(worker: int, workers: int) -> None:
        lowest = np.empty(volume.shape[2], volume.dtype)
        for y in range(worker, len(best), workers):
            _lowest(volume[:, y], lowest, best[y])

    in_threads(work, len(best))
    return torch.from_numpy(best).long()


@njit(**COMPILED)
@no_type_check
def _lowest(cost, lowest, best):
    lowest[:], best[:] = cost[0], 0
    for d in range(1, len(cost)):
        for x in range(len(best)):
            if cost[d, x] < lowest[x]:
                lowest[x], best[x] = cost[d, x], d
