"""What an autoencoder is shown where an anchor saw nothing.

A drawn anchor is black in the cracks between its points, along dropped depth edges, and where its
memory never looked. One black pixel reaches every latent value around it in four frames, so that
anchors whose holes are black say far less than they saw. Filled holes are told from what was seen
by `visible`, which stays as it is. Our addition: the paper and the released code leave holes black.
"""

from __future__ import annotations

from typing import Literal, get_args, no_type_check

import numpy as np
import torch
from jaxtyping import Bool, Float
from numba import njit
from torch import Tensor

from anchorweave.geometry.threads import in_threads

Holes = Literal["black", "cracks", "filled"]
HOLES = get_args(Holes)
# Of the image's height: cracks between points, not what a memory never looked at.
CRACK_REACH = 0.025
COMPILED = {"nogil": True, "cache": True}
FAR = 1 << 14


def fill_holes(
    video: Float[Tensor, "*batch 3 H W"], visible: Bool[Tensor, "*batch H W"], holes: str
) -> Float[Tensor, "*batch 3 H W"]:
    """Frames whose unseen pixels show the nearest seen pixel of their frame.

    Args:
        video: colours in [0, 1].
        visible: True where a pixel was really seen.
        holes: `black` leaves the frames as they are, `cracks` fills what is no farther than
            `CRACK_REACH` from a seen pixel, `filled` fills all. A frame in which nothing was seen
            stays black.

    Returns:
        On the device of `video`; the given frames themselves where nothing is filled.

    Raises:
        ValueError: an unknown kind.
    """
    if holes not in HOLES:
        raise ValueError(f"holes is one of {', '.join(HOLES)}; met {holes!r}")
    if holes == "black" or not visible.numel():
        return video
    H, W = visible.shape[-2:]
    reach = CRACK_REACH * H if holes == "cracks" else float(FAR)
    source = nearest_seen(visible.reshape(-1, H, W).cpu(), reach).to(video.device)
    pixels = video.reshape(-1, 3, H * W)
    filled = pixels.gather(2, source.flatten(1)[:, None].expand(-1, 3, -1))
    return filled.reshape(video.shape)


def nearest_seen(visible: Bool[Tensor, "T H W"], reach: float) -> Tensor:
    """Which pixel (row * W + column) [T, H, W] each pixel takes its colour from.

    A seen pixel takes its own; an unseen one that of the nearest seen pixel within `reach` pixels,
    or its own where there is none. Two sweeps over the image, one down and one up, hand offsets to
    the nearest seen pixel from neighbour to neighbour (8SED of Danielsson 1980): exact but for rare
    pixels, which are off by a fraction of a pixel.

    Args:
        visible: on the CPU.
        reach: in pixels.
    """
    T, H, W = visible.shape
    seen = visible.contiguous().numpy()
    source = np.empty((T, H, W), np.int64)

    def fill(worker: int, workers: int) -> None:
        rows = np.empty((H, W), np.int32)
        columns = np.empty((H, W), np.int32)
        for t in range(worker, T, workers):
            _sweep(seen[t], rows, columns)
            _name(rows, columns, reach, source[t])

    in_threads(fill, T)
    return torch.from_numpy(source)


@njit(**COMPILED)
@no_type_check
def _sweep(seen, rows, columns):
    """Offsets to the nearest seen pixel, `FAR` where none was met."""
    height, width = seen.shape
    for v in range(height):
        for u in range(width):
            rows[v, u] = 0 if seen[v, u] else FAR
            columns[v, u] = 0 if seen[v, u] else FAR
    for v in range(height):
        for u in range(width):
            if v > 0:
                _take(rows, columns, v, u, -1, 0)
                if u > 0:
                    _take(rows, columns, v, u, -1, -1)
                if u < width - 1:
                    _take(rows, columns, v, u, -1, 1)
            if u > 0:
                _take(rows, columns, v, u, 0, -1)
        for u in range(width - 2, -1, -1):
            _take(rows, columns, v, u, 0, 1)
    for v in range(height - 2, -1, -1):
        for u in range(width):
            _take(rows, columns, v, u, 1, 0)
            if u > 0:
                _take(rows, columns, v, u, 1, -1)
                _take(rows, columns, v, u, 0, -1)
            if u < width - 1:
                _take(rows, columns, v, u, 1, 1)
        for u in range(width - 2, -1, -1):
            _take(rows, columns, v, u, 0, 1)


@njit(inline="always", **COMPILED)
@no_type_check
def _take(rows, columns, v, u, down, right):
    """Take over what the neighbour at (down, right) has found, if that is nearer."""
    row, column = rows[v + down, u + right] + down, columns[v + down, u + right] + right
    if row * row + column * column < rows[v, u] * rows[v, u] + columns[v, u] * columns[v, u]:
        rows[v, u], columns[v, u] = row, column


@njit(**COMPILED)
@no_type_check
def _name(rows, columns, reach, source):
    height, width = rows.shape
    for v in range(height):
        for u in range(width):
            row, column = rows[v, u], columns[v, u]
            # Sums of neighbours' offsets stay near FAR where nothing was seen.
            near = row * row + column * column <= reach * reach
            inside = 0 <= v + row < height and 0 <= u + column < width
            source[v, u] = (v + row) * width + u + column if near and inside else v * width + u
