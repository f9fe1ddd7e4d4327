"""Triangle rasterisation with a z-buffer.

A triangle with the corners V (columns, relative to the eye) meets the ray d in V b where, up to
scale, b = V^-1 d: b / sum(b) are barycentric coordinates, 1 / sum(b) is the depth in lengths of d.
Both b and its sum are linear over the image, so no clipping at the near plane is needed.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int32
from numba import njit

from anchorweave.recordings.pinhole_view import View

BLOCK = 256  # triangles whose bounds are computed at a time, within the L1 cache
# In metres; anything nearer to the eye is invisible.
NEAR = 1e-3
NOTHING = -1
# In pixels: bounds are computed in float32; the pixels inside are tested exactly.
SLACK = np.float32(0.01)
COMPILED = {"nogil": True, "cache": True, "error_model": "numpy"}


def in_blocks(corners: Float[np.ndarray, "F 3 3"]) -> Float[np.ndarray, "blocks 9 BLOCK"]:
    """Corners in coordinate-major blocks of triangles, which SIMD can load."""
    blocks = np.zeros((-(-len(corners) // BLOCK), BLOCK, 9), np.float32)
    blocks.reshape(-1, 9)[: len(corners)] = corners.reshape(-1, 9)
    return np.ascontiguousarray(blocks.transpose(0, 2, 1))


def seen_triangles(
    corners: Float[np.ndarray, "F 3 3"],
    blocks: Float[np.ndarray, "blocks 9 BLOCK"],
    view: View,
    near: float = NEAR,
) -> Int32[np.ndarray, "H W"]:
    """The triangle visible at every pixel centre [H, W], `NOTHING` where there is none.

    Args:
        corners: corners of the triangles, float32.
        blocks: the same numbers, in the layout of `in_blocks`.
        view: the camera.
        near: anything nearer than this is invisible.
    """
    inverse_depth = np.zeros(view.size, np.float32)
    triangles = np.full(view.size, NOTHING, np.int32)
    _paint(corners, blocks, view.eye, view.rays, view.image, 1 / near, inverse_depth, triangles)
    return triangles


def depths(
    corners: Float[np.ndarray, "F 3 3"], triangles: Int32[np.ndarray, "H W"], view: View
) -> Float[np.ndarray, "H W"]:
    """Exact depth at every pixel centre [H, W], 0 where there is no triangle."""
    depth = np.zeros(view.size, np.float32)
    _measure(corners, triangles, view.eye, view.rays, depth)
    return depth


@njit(**COMPILED, inline="always")
@no_type_check
def inverse_corners(corners, f, eye):
    """V^-1 of triangle f relative to the eye: three rows of three, consecutively."""
    ax, ay, az = corners[f, 0, 0] - eye[0], corners[f, 0, 1] - eye[1], corners[f, 0, 2] - eye[2]
    bx, by, bz = corners[f, 1, 0] - eye[0], corners[f, 1, 1] - eye[1], corners[f, 1, 2] - eye[2]
    cx, cy, cz = corners[f, 2, 0] - eye[0], corners[f, 2, 1] - eye[1], corners[f, 2, 2] - eye[2]
    x0, y0, z0 = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
    x1, y1, z1 = cy * az - cz * ay, cz * ax - cx * az, cx * ay - cy * ax
    x2, y2, z2 = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    # Zero if the eye lies in the plane; every comparison then rejects the infinite rows.
    s = 1.0 / (ax * x0 + ay * y0 + az * z0)
    return x0 * s, y0 * s, z0 * s, x1 * s, y1 * s, z1 * s, x2 * s, y2 * s, z2 * s


@njit(**COMPILED)
@no_type_check
def _paint(corners, blocks, eye, rays, image, nearest, inverse_depth, triangles):
    bounds = np.empty((4, BLOCK), np.int32)
    to_image = image.astype(np.float32)
    offset = np.empty(3, np.float32)
    for i in range(3):
        offset[i] = -(image[i, 0] * eye[0] + image[i, 1] * eye[1] + image[i, 2] * eye[2])
    near = np.float32(1.0 / nearest)
    height, width = triangles.shape
    for k in range(len(blocks)):
        _outline(blocks[k], to_image, offset, near, height, width, bounds)
        left, right, top, bottom = bounds[0], bounds[1], bounds[2], bounds[3]
        start = k * BLOCK
        for j in range(min(BLOCK, len(corners) - start)):
            if left[j] <= right[j]:
                _fill(
                    corners, start + j, eye, rays, nearest, left[j], right[j], top[j], bottom[j],
                    inverse_depth, triangles,
                )  # fmt: skip


@njit(**COMPILED)
@no_type_check
def _outline(columns, image, offset, near, height, width, bounds):
    """Column and row bounds of the pixels that triangles may cover; empty: first > last."""
    # Only arithmetic and selects in the loop, so that the compiler vectorises it.
    m00, m01, m02, o0 = image[0, 0], image[0, 1], image[0, 2], offset[0]
    m10, m11, m12, o1 = image[1, 0], image[1, 1], image[1, 2], offset[1]
    m20, m21, m22, o2 = image[2, 0], image[2, 1], image[2, 2], offset[2]
    ax, ay, az = columns[0], columns[1], columns[2]
    bx, by, bz = columns[3], columns[4], columns[5]
    cx, cy, cz = columns[6], columns[7], columns[8]
    left, right, top, bottom = bounds[0], bounds[1], bounds[2], bounds[3]
    zero, half = np.float32(0), np.float32(0.5)
    wide, high = np.float32(width), np.float32(height)
    for j in range(ax.size):
        za = m20 * ax[j] + m21 * ay[j] + m22 * az[j] + o2
        zb = m20 * bx[j] + m21 * by[j] + m22 * bz[j] + o2
        zc = m20 * cx[j] + m21 * cy[j] + m22 * cz[j] + o2
        ua = (m00 * ax[j] + m01 * ay[j] + m02 * az[j] + o0) / za
        ub = (m00 * bx[j] + m01 * by[j] + m02 * bz[j] + o0) / zb
        uc = (m00 * cx[j] + m01 * cy[j] + m02 * cz[j] + o0) / zc
        va = (m10 * ax[j] + m11 * ay[j] + m12 * az[j] + o1) / za
        vb = (m10 * bx[j] + m11 * by[j] + m12 * bz[j] + o1) / zb
        vc = (m10 * cx[j] + m11 * cy[j] + m12 * cz[j] + o1) / zc
        nearest, farthest = _least(za, zb, zc), _most(za, zb, zc)
        # The outline of a triangle that extends behind the eye is not that of its projected
        # corners.
        crossing, behind = nearest < near, farthest < near
        u0 = zero if crossing else _within(_least(ua, ub, uc) - half - SLACK, wide)
        u1 = wide if crossing else _within(_most(ua, ub, uc) + half + SLACK, wide)
        v0 = zero if crossing else _within(_least(va, vb, vc) - half - SLACK, high)
        v1 = high if crossing else _within(_most(va, vb, vc) + half + SLACK, high)
        c0, c1 = np.int32(np.ceil(u0)), np.int32(np.floor(u1)) - np.int32(1)
        r0, r1 = np.int32(np.ceil(v0)), np.int32(np.floor(v1)) - np.int32(1)
        nowhere = behind | (r0 > r1)
        left[j], right[j], top[j], bottom[j] = c0, np.int32(-1) if nowhere else c1, r0, r1


@njit(**COMPILED, inline="always")
@no_type_check
def _least(a, b, c):
    low = a if a < b else b
    return low if low < c else c


@njit(**COMPILED, inline="always")
@no_type_check
def _most(a, b, c):
    high = a if a > b else b
    return high if high > c else c


@njit(**COMPILED, inline="always")
@no_type_check
def _within(x, end):
    x = x if x > np.float32(0) else np.float32(0)
    return x if x < end else end


@njit(**COMPILED)
@no_type_check
def _fill(corners, f, eye, rays, nearest, left, right, top, bottom, inverse_depth, triangles):
    m = inverse_corners(corners, f, eye)
    # b[i] = base + u * du + v * dv
    s, u, v = rays[0], rays[1], rays[2]
    base0 = m[0] * s[0] + m[1] * s[1] + m[2] * s[2]
    base1 = m[3] * s[0] + m[4] * s[1] + m[5] * s[2]
    base2 = m[6] * s[0] + m[7] * s[1] + m[8] * s[2]
    du0 = m[0] * u[0] + m[1] * u[1] + m[2] * u[2]
    du1 = m[3] * u[0] + m[4] * u[1] + m[5] * u[2]
    du2 = m[6] * u[0] + m[7] * u[1] + m[8] * u[2]
    dv0 = m[0] * v[0] + m[1] * v[1] + m[2] * v[2]
    dv1 = m[3] * v[0] + m[4] * v[1] + m[5] * v[2]
    dv2 = m[6] * v[0] + m[7] * v[1] + m[8] * v[2]
    base, du, dv = base0 + base1 + base2, du0 + du1 + du2, dv0 + dv1 + dv2
    # Where each is 0 along a row; infinite (and then rejected by none) if it never is.
    inverse0, inverse1, inverse2, inverse = -1 / du0, -1 / du1, -1 / du2, 1 / du
    for row in range(top, bottom + 1):
        y = row + 0.5
        low, high = left + 0.5, right + 0.5
        low, high = _narrow(low, high, base0 + dv0 * y, du0, inverse0)
        low, high = _narrow(low, high, base1 + dv1 * y, du1, inverse1)
        low, high = _narrow(low, high, base2 + dv2 * y, du2, inverse2)
        low, high = _narrow(low, high, nearest - base - dv * y, -du, inverse)
        first, last = np.int64(np.ceil(low - 0.5)), np.int64(np.floor(high - 0.5))
        if first <= last:
            start = base + dv * y + du * (first + 0.5)
            if last - first < 4:
                for column in range(first, last + 1):
                    z = np.float32(start)
                    if z > inverse_depth[row, column]:
                        inverse_depth[row, column] = z
                        triangles[row, column] = f
                    start += du
            else:
                _fill_row(
                    np.float32(start), np.float32(du), np.int32(f),
                    inverse_depth[row, first : last + 1], triangles[row, first : last + 1],
                )  # fmt: skip


@njit(**COMPILED, inline="always")
@no_type_check
def _narrow(low, high, value, slope, inverse):
    """The part of low..high where value + slope * x >= 0, slightly widened to avoid gaps."""
    bound = value * inverse
    if slope > 0:
        low = max(low, bound - 1e-6)
    elif slope < 0:
        high = min(high, bound + 1e-6)
    elif value < 0:
        high = low - 1
    return low, high


@njit(**COMPILED)
@no_type_check
def _fill_row(start, step, f, inverse_depth, triangles):
    for j in range(triangles.size):
        z = start + step * np.float32(j)
        nearer = z > inverse_depth[j]
        inverse_depth[j] = z if nearer else inverse_depth[j]
        triangles[j] = f if nearer else triangles[j]


@njit(**COMPILED)
@no_type_check
def _measure(corners, triangles, eye, rays, depth):
    for row in range(triangles.shape[0]):
        last = np.int64(NOTHING)
        a, b, c = 0.0, 0.0, 0.0
        for column in range(triangles.shape[1]):
            f = np.int64(triangles[row, column])
            if f == NOTHING:
                continue
            if f != last:
                last, m = f, inverse_corners(corners, f, eye)
                a, b, c = m[0] + m[3] + m[6], m[1] + m[4] + m[7], m[2] + m[5] + m[8]
            u, v = column + 0.5, row + 0.5
            x = rays[0, 0] + u * rays[1, 0] + v * rays[2, 0]
            y = rays[0, 1] + u * rays[1, 1] + v * rays[2, 1]
            z = rays[0, 2] + u * rays[1, 2] + v * rays[2, 2]
            depth[row, column] = 1 / (a * x + b * y + c * z)
