"""Footprints: the target-view pixels that a depth map covers, as bitsets.

A footprint is a row of 64-bit words. Pixel (i, j) of target view d (of D views of size h x w) has
index n = (d * h + i) * w + j, stored in bit n % 64 of word n // 64; bits past the last pixel are 0.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int64
from numba import njit
from torch import Tensor

from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.projection import image_to_image
from anchorweave.geometry.threads import in_threads

COMPILED = {"nogil": True, "cache": True, "error_model": "numpy"}


def footprints(
    depth: Float[Tensor, "M hs ws"],
    sources: Cameras,
    targets: Cameras,
    members: Int64[Tensor, " C"],
) -> Int64[Tensor, "C words"]:
    """Footprints of depth maps in all target views, one pixel per point.

    Points are generated on the fly and not stored. A pixel counts as covered if any point in front
    of the target camera projects into it; occlusion by other depth maps is ignored.

    Args:
        depth: M depth maps, float32 on the CPU; 0 = invalid.
        sources: their cameras [M].
        targets: D cameras.
        members: indices of the depth maps to use.
    """
    matrices, offsets = image_to_image(sources[members], targets)
    (height, width), maps, rows = targets.size, depth.numpy(), members.numpy()
    bits = torch.zeros(len(members), -(-len(targets) * height * width // 64), dtype=torch.int64)
    words = bits.numpy().view(np.uint64)

    def fill(worker: int, workers: int) -> None:
        _fill(maps, rows, matrices, offsets, height, width, worker, workers, words)

    in_threads(fill, len(members))
    return bits


def newly_covered(
    footprints: Int64[Tensor, "C words"], covered: Int64[Tensor, " words"]
) -> Int64[Tensor, " C"]:
    """Number of pixels that each footprint adds to `covered` [C]."""
    counts = np.empty(len(footprints), np.int64)
    _count(footprints.numpy().view(np.uint64), covered.numpy().view(np.uint64), counts)
    return torch.from_numpy(counts)


@njit(**COMPILED)
@no_type_check
def _fill(depth, members, matrices, offsets, height, width, first, step, words):
    line = np.empty((3, depth.shape[2]), np.float32)
    for c in range(first, len(members), step):
        source = depth[members[c]]
        for d in range(matrices.shape[1]):
            start = d * height * width
            for i in range(source.shape[0]):
                _project_line(source[i], i, matrices[c, d], offsets[c, d], line)
                _mark_line(source[i], line, height, width, start, words[c])


@njit(**COMPILED)
@no_type_check
def _project_line(depths, row, matrix, offset, line):
    # Only arithmetic in the loop, so that the compiler vectorizes it.
    y = np.float32(row) + np.float32(0.5)
    ax, bx, cx = matrix[0, 0], matrix[0, 1] * y + matrix[0, 2], offset[0]
    ay, by, cy = matrix[1, 0], matrix[1, 1] * y + matrix[1, 2], offset[1]
    az, bz, cz = matrix[2, 0], matrix[2, 1] * y + matrix[2, 2], offset[2]
    us, vs, zs = line[0], line[1], line[2]
    for j in range(depths.size):
        x = np.float32(j) + np.float32(0.5)
        z = (az * x + bz) * depths[j] + cz
        us[j] = ((ax * x + bx) * depths[j] + cx) / z
        vs[j] = ((ay * x + by) * depths[j] + cy) / z
        zs[j] = z


@njit(**COMPILED)
@no_type_check
def _mark_line(depths, line, height, width, start, words):
    bottom, right, zero = np.float32(height), np.float32(width), np.float32(0)
    for j in range(depths.size):
        u, v = line[0, j], line[1, j]
        inside = (u >= zero) & (u < right) & (v >= zero) & (v < bottom)
        if inside & (line[2, j] > zero) & (depths[j] > zero):
            pixel = np.uint64(start + np.int64(v) * width + np.int64(u))
            words[pixel >> np.uint64(6)] |= np.uint64(1) << (pixel & np.uint64(63))


@njit(**COMPILED)
@no_type_check
def _count(footprints, covered, counts):
    # SWAR popcount: bits are summed in pairs, nibbles, then bytes; the product adds the eight
    # bytes.
    pairs, nibbles = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
    octets, ones = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101)
    for c in range(len(footprints)):
        total = np.uint64(0)
        for k in range(len(covered)):
            x = footprints[c, k] & ~covered[k]
            x = x - ((x >> np.uint64(1)) & pairs)
            x = (x & nibbles) + ((x >> np.uint64(2)) & nibbles)
            x = (x + (x >> np.uint64(4))) & octets
            total += (x * ones) >> np.uint64(56)
        counts[c] = np.int64(total)
