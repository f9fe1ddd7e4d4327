"""Mipmaps: textures at every level of detail, with trilinear lookup."""

from __future__ import annotations

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int64
from numba import njit

from anchorweave.recordings.procedural_rooms.rasterizing import COMPILED


@dataclass(frozen=True)
class Pyramid:
    """Textures whose side is a power of two, and their halves, quarters and so on.

    Args:
        texels: texture after texture, finest level first, row by row [M * texels * 3].
        starts: first texel of each level within a texture; the last entry is the end.
    """

    texels: Float[np.ndarray, " N"]
    starts: Int64[np.ndarray, " L"]


def pyramid_of(textures: Float[np.ndarray, "M S S 3"]) -> Pyramid:
    """All levels of `textures`, float32."""
    levels = [textures]
    while levels[-1].shape[1] > 1:
        pairs = levels[-1][:, ::2] + levels[-1][:, 1::2]
        levels.append((pairs[:, :, ::2] + pairs[:, :, 1::2]) / 4)
    starts = np.cumsum([0, *(level.shape[1] ** 2 for level in levels)])
    flat = [level.reshape(len(textures), -1) for level in levels]
    return Pyramid(np.concatenate(flat, axis=1).ravel(), starts)


@njit(**COMPILED)
@no_type_check
def textured(texels, starts, texture, u, v, level):
    """RGB of a texture at (u, v), blended between the two levels next to `level`."""
    coarsest = len(starts) - 2
    base = np.int64(texture) * starts[coarsest + 1]
    fine = min(np.int64(level), coarsest - 1)
    coarse_share = level - np.float32(fine)
    r, g, b = _bilinear(texels, base + starts[fine], coarsest - fine, u, v)
    if coarse_share == 0:
        return r, g, b
    fine += 1
    red, green, blue = _bilinear(texels, base + starts[fine], coarsest - fine, u, v)
    return (
        r + coarse_share * (red - r), g + coarse_share * (green - g), b + coarse_share * (blue - b)
    )  # fmt: skip


@njit(**COMPILED, inline="always")
@no_type_check
def _bilinear(texels, start, bits, u, v):
    side = np.int64(1) << bits
    half = np.float32(0.5)
    u, v = u * np.float32(side) - half, v * np.float32(side) - half
    low_u, low_v = np.floor(u), np.floor(v)
    fu, fv = u - low_u, v - low_v
    # Sides are powers of two, so this is the remainder, for negative numbers too.
    u0, v0 = np.int64(low_u) & (side - 1), np.int64(low_v) & (side - 1)
    u1, v1 = (u0 + 1) & (side - 1), (v0 + 1) & (side - 1)
    upper, lower = start + (v0 << bits), start + (v1 << bits)
    # Unsigned, because negative indices count from the end, which would add a check to every
    # access.
    a, b = np.uint64(3 * (upper + u0)), np.uint64(3 * (upper + u1))
    c, d = np.uint64(3 * (lower + u0)), np.uint64(3 * (lower + u1))
    one, two = np.uint64(1), np.uint64(2)
    w11 = fu * fv
    w01, w10 = fu - w11, fv - w11
    w00 = np.float32(1) - fu - w10
    return (
        w00 * texels[a] + w01 * texels[b] + w10 * texels[c] + w11 * texels[d],
        w00 * texels[a + one] + w01 * texels[b + one] + w10 * texels[c + one]
        + w11 * texels[d + one],
        w00 * texels[a + two] + w01 * texels[b + two] + w10 * texels[c + two]
        + w11 * texels[d + two],
    )  # fmt: skip
