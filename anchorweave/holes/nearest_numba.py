"""Nearest seen pixel on the CPU: exact, in time independent of the size of the holes.

Two passes over all pixels. The first finds the nearest seen row in every column by sweeping down
and up. In the second, each column contributes a parabola of squared distances along the row; the
nearest pixel is on the lower envelope of these parabolas.

Source: Felzenszwalb and Huttenlocher, Distance Transforms of Sampled Functions (2012), section 2.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Bool, Float
from numba import njit
from torch import Tensor

from anchorweave.geometry.threads import in_threads

COMPILED = {"nogil": True, "cache": True, "error_model": "numpy"}
NONE = -1  # no seen row in this column


def fill(
    video: Float[Tensor, "T 3 H W"], visible: Bool[Tensor, "T H W"], reach: int
) -> Float[Tensor, "T 3 H W"]:
    """As `nearest_torch.fill`, for tensors on the CPU."""
    T, _, H, W = video.shape
    # NumPy has no bfloat16; float32 represents it exactly.
    filled = np.empty((T, 3, H, W), np.float32)
    colours, seen = video.detach().float().contiguous().numpy(), visible.contiguous().numpy()

    def work(worker: int, workers: int) -> None:
        rows = np.empty((H, W), np.int32)
        columns = np.empty(W, np.int32)
        starts = np.empty(W + 1, np.float64)
        for t in range(worker, T, workers):
            filled[t] = colours[t]
            _nearest_rows(seen[t], rows)
            _paint(filled[t], seen[t], rows, columns, starts, reach * reach)

    in_threads(work, T)
    return torch.from_numpy(filled).to(video.dtype)


@njit(**COMPILED)
@no_type_check
def _nearest_rows(seen, rows):
    height, width = seen.shape
    for x in range(width):
        rows[0, x] = 0 if seen[0, x] else NONE
    for y in range(1, height):
        for x in range(width):
            rows[y, x] = y if seen[y, x] else rows[y - 1, x]
    for y in range(height - 2, -1, -1):
        for x in range(width):
            above, below = rows[y, x], rows[y + 1, x]
            # A column with nothing seen above uses, at this row, the nearest one from below.
            nearer = below >= 0 and (above < 0 or below - y < y - above)
            rows[y, x] = below if nearer else above


@njit(**COMPILED)
@no_type_check
def _paint(video, seen, rows, columns, starts, furthest):
    height, width = seen.shape
    for y in range(height):
        x = 0
        while x < width:
            if seen[y, x]:
                x += 1
                continue
            stop = x
            while stop < width and not seen[y, stop]:
                stop += 1
            # A seen pixel at either end of the gap is nearer than anything beyond it.
            first, last = max(x - 1, 0), min(stop, width - 1)
            count = _envelope(rows[y], y, first, last, columns, starts)
            k = 0
            for u in range(x, stop):
                while k + 1 < count and starts[k + 1] <= u:
                    k += 1
                if count == 0:
                    break
                column = columns[k]
                row = rows[y, column]
                if (u - column) ** 2 + (row - y) ** 2 <= furthest:
                    for c in range(3):
                        video[c, y, u] = video[c, row, column]
            x = stop


@njit(**COMPILED)
@no_type_check
def _envelope(rows, y, first, last, columns, starts):
    """The columns on the lower envelope, and from where on each of them is the lowest."""
    count = 0
    for q in range(first, last + 1):
        if rows[q] < 0:
            continue
        height = (rows[q] - y) ** 2 + q * q
        start = -np.inf
        while count > 0:
            v = columns[count - 1]
            start = (height - (rows[v] - y) ** 2 - v * v) / (2.0 * (q - v))
            if start > starts[count - 1]:
                break
            count -= 1
            start = -np.inf
        columns[count], starts[count] = q, start
        count += 1
    return count
