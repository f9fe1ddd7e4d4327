"""Photo costs on the CPU: as `cost_volume_torch.photo_cost` up to rounding, several times faster.

They are made row by row: a row of the source is warped, its windows are summed along the row and
then over the last rows, all in buffers that stay in cache. Planes are distributed over threads.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float
from numba import njit
from torch import Tensor
from torch.nn import functional

from anchorweave.geometry.threads import in_threads
from anchorweave.perception.cost_volume_torch import window_moments

# Sums may be reordered, so that they can be vectorised.
COMPILED = {
    "nogil": True,
    "cache": True,
    "error_model": "numpy",
    "fastmath": {"nsz", "arcp", "contract", "reassoc"},
}


def photo_cost(
    view: Float[Tensor, "H W"],
    homographies: Float[Tensor, "S 3 3"],
    shifts: Float[Tensor, "S 3"],
    sources: Float[Tensor, "S h w"],
    inverse_depths: Float[Tensor, " D"],
    window: int,
    noise: float,
) -> Float[Tensor, "D H W"]:
    """As `cost_volume_torch.photo_cost`, for tensors on the CPU."""
    H, W = view.shape
    kept = (len(sources) + 1) // 2
    grey = view.contiguous().numpy()
    dtype = grey.dtype
    count, mean, variance = window_moments(view, window, noise)
    moments = torch.stack([1 / count, mean, variance]).numpy()
    # A border of zeros: the pixels around a position then always exist.
    padded = functional.pad(sources, (1, 1, 1, 1)).numpy()
    turns, moves, planes = (t.contiguous().numpy() for t in (homographies, shifts, inverse_depths))
    numbers = np.array([0, 0.5, 1, noise**2], dtype)
    xs, ys = (np.arange(n, dtype=dtype) + numbers[1] for n in (W, H))
    cost = np.empty((len(planes), H, W), dtype)

    def work(worker: int, workers: int) -> None:
        best = np.empty((kept, H, W), dtype)
        line = np.zeros((3, W + window - 1), dtype)
        sums = np.empty((window, 3, W), dtype)
        seen = np.empty((window, W), dtype)
        row = np.empty((3, W), dtype)
        offsets = np.empty(W, np.int32)
        for d in range(worker, len(planes), workers):
            for s, image in enumerate(padded):
                matrix = turns[s].copy()
                matrix[:, 2] += planes[d] * moves[s]
                _correlate(
                    *(grey, image, matrix, moments, xs, ys, numbers, window),
                    *(best, min(s, kept), line, sums, seen, row, offsets),
                )
            best.mean(axis=0, out=cost[d])

    in_threads(work, len(planes))
    return torch.from_numpy(cost)


@njit(**COMPILED)
@no_type_check
def _correlate(
    grey,
    image,
    matrix,
    moments,
    xs,
    ys,
    numbers,
    window,
    best,
    known,
    line,
    sums,
    seen,
    row,
    offsets,
):
    """Cost of one source and plane, inserted into the `known` lowest ones of `best`."""
    height, width = grey.shape
    reach, first = window // 2, window % 4
    zero, half, one, noise = numbers
    sums[:] = zero
    for y in range(height + reach):
        slot = y % window
        if y < height:
            _warp_row(image, matrix, xs, ys[y], numbers, line[0, reach:], seen[slot], row, offsets)
            for x in range(width):
                value = line[0, reach + x]
                line[1, reach + x] = value * value
                line[2, reach + x] = value * grey[y, x]
            for moment in range(3):
                target, values = sums[slot, moment], line[moment]
                # Four at a time: the target is then loaded and stored less often.
                if first == 3:
                    for x in range(width):
                        target[x] = values[x] + values[x + 1] + values[x + 2]
                else:
                    for x in range(width):
                        target[x] = values[x]
                for k in range(first, window, 4):
                    for x in range(width):
                        near = values[x + k] + values[x + k + 1]
                        target[x] += near + (values[x + k + 2] + values[x + k + 3])
        else:
            sums[slot] = zero
        middle = y - reach
        if middle < 0:
            continue
        for moment in range(3):
            target = row[moment]
            if first == 3:
                for x in range(width):
                    target[x] = sums[0, moment, x] + sums[1, moment, x] + sums[2, moment, x]
            else:
                for x in range(width):
                    target[x] = sums[0, moment, x]
            for k in range(first, window, 4):
                for x in range(width):
                    near = sums[k, moment, x] + sums[k + 1, moment, x]
                    target[x] += near + (sums[k + 2, moment, x] + sums[k + 3, moment, x])
        is_seen = seen[middle % window]
        for x in range(width):
            share = moments[0, middle, x]
            mean = row[0, x] * share
            variance = row[1, x] * share - mean * mean + noise
            covariance = row[2, x] * share - mean * moments[1, middle, x]
            zncc = covariance / np.sqrt(variance * moments[2, middle, x])
            zncc = one if zncc > one else -one if zncc < -one else zncc
            # 1 where the source does not see the point.
            row[0, x] = one + is_seen[x] * ((one - zncc) * half - one)
        for i in range(known):
            for x in range(width):
                low, new = best[i, middle, x], row[0, x]
                best[i, middle, x] = low if low < new else new
                row[0, x] = new if low < new else low
        if known < len(best):
            for x in range(width):
                best[known, middle, x] = row[0, x]


@njit(**COMPILED)
@no_type_check
def _warp_row(image, matrix, xs, y, numbers, values, seen, row, offsets):
    """Bilinear values of `image`, which has a border of zeros, and 1 where it is seen, else 0."""
    zero, half, one = numbers[0], numbers[1], numbers[2]
    stride = image.shape[1]
    # Without the border.
    width, height = one * (stride - 2), one * (image.shape[0] - 2)
    x0 = matrix[0, 1] * y + matrix[0, 2]
    y0 = matrix[1, 1] * y + matrix[1, 2]
    z0 = matrix[2, 1] * y + matrix[2, 2]
    for i in range(len(xs)):
        z = matrix[2, 0] * xs[i] + z0
        inverse = one / z
        column = (matrix[0, 0] * xs[i] + x0) * inverse
        line = (matrix[1, 0] * xs[i] + y0) * inverse
        inside = (z > zero) & (column > zero) & (column < width) & (line > zero) & (line < height)
        seen[i] = one if inside else zero
        # Pixel centres are at halves, and the border moves everything by one; 0 is in the border.
        row[0, i] = column + half if inside else zero
        row[1, i] = line + half if inside else zero
    for i in range(len(xs)):
        offsets[i] = np.int32(row[1, i]) * np.int32(stride) + np.int32(row[0, i])
        row[0, i] -= np.floor(row[0, i])
        row[1, i] -= np.floor(row[1, i])
    flat = image.ravel()
    one_more = np.uint32(1)
    for i in range(len(xs)):
        at, right, down = np.uint32(offsets[i]), row[0, i], row[1, i]
        above = flat[at] + right * (flat[at + one_more] - flat[at])
        at += np.uint32(stride)
        below = flat[at] + right * (flat[at + one_more] - flat[at])
        values[i] = (above + down * (below - above)) * seen[i]
