"""The fast twin of `point_splat.splat_points`, for tensors on the CPU: same arguments, same bits.

Three passes a view: points are projected in short blocks that stay in cache (the compiler makes
SIMD code of it), a scalar loop lets each pixel remember its nearest point, and colours are fetched
once per pixel rather than once per point. Views are spread over threads.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float
from numba import njit
from torch import Tensor

from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.threads import in_threads
from anchorweave.rendering.point_splat import Splat, check_splat, image_from_world

BLOCK = 1024  # points whose image positions are kept at a time: 12 kB, within any L1 cache
# The numpy error model lets 0 / 0 be NaN, which every comparison below then refuses.
COMPILED = {"nogil": True, "cache": True, "error_model": "numpy"}


def splat_points(
    points: Float[Tensor, "P 3"],
    colours: Float[Tensor, "P 3"],
    cameras: Cameras,
    radius: int = 0,
) -> Splat:
    """Renders a point cloud; see `point_splat.splat_points`, which this equals bit for bit.

    Raises:
        ValueError: as there, or tensors that are not on the CPU.
    """
    check_splat(points, colours, cameras, radius)
    if points.device.type != "cpu" or colours.device.type != "cpu":
        raise ValueError(
            f"the numba renderer works on the CPU, met points on {points.device} and colours on "
            f"{colours.device}; use renderer torch (or auto) there"
        )
    matrices, centres = (value.numpy() for value in image_from_world(cameras))
    # Coordinates one after another instead of point after point: that is what SIMD can load.
    xyz = points.detach().float().mT.contiguous().numpy()
    rgb = colours.detach().float().contiguous().numpy()
    T, (H, W) = len(cameras), cameras.size
    # numpy asks the system for huge pages, torch does not: half the time went into page faults.
    video = np.empty((T, 3, H, W), np.float32)
    visible = np.empty((T, H, W), np.bool_)
    depth = np.empty((T, H, W), np.float32)

    def render(worker: int, workers: int) -> None:
        winner = np.empty(H * W, np.int32)
        block = np.empty((3, BLOCK), np.float32)
        for t in range(worker, T, workers):
            out = video[t], visible[t], depth[t]
            _render_view(xyz, rgb, matrices[t], centres[t], radius, *out, winner, block)

    in_threads(render, T)
    return Splat(*(torch.from_numpy(value) for value in (video, visible, depth)))


@njit(**COMPILED)
@no_type_check
def _render_view(xyz, rgb, matrix, centre, radius, video, visible, depth, winner, block):
    height, width = depth.shape
    nearest = depth.ravel()
    nearest[:] = np.inf
    for start in range(0, xyz.shape[1], BLOCK):
        stop = min(start + BLOCK, xyz.shape[1])
        count = stop - start
        # Rows of their own, because the compiler knows only of those that they have no gaps.
        _project(xyz[0, start:stop], xyz[1, start:stop], xyz[2, start:stop], matrix, centre, block)
        if radius == 0:
            _paint_pixels(block, count, start, height, width, nearest, winner)
        else:
            _paint_squares(block, count, start, height, width, radius, nearest, winner)
    _fetch_colours(rgb, winner, nearest, video.reshape(3, -1), visible.ravel())


@njit(**COMPILED)
@no_type_check
def _project(xs, ys, zs, matrix, centre, block):
    # All in locals, and nothing but arithmetic in the loop, or the compiler makes no SIMD of it.
    m00, m01, m02 = matrix[0, 0], matrix[0, 1], matrix[0, 2]
    m10, m11, m12 = matrix[1, 0], matrix[1, 1], matrix[1, 2]
    m20, m21, m22 = matrix[2, 0], matrix[2, 1], matrix[2, 2]
    cx, cy, cz = centre[0], centre[1], centre[2]
    columns, rows, depths = block[0], block[1], block[2]
    for j in range(xs.size):
        x = xs[j] - cx
        y = ys[j] - cy
        z = zs[j] - cz
        depth = (m20 * x + m21 * y) + m22 * z
        columns[j] = ((m00 * x + m01 * y) + m02 * z) / depth
        rows[j] = ((m10 * x + m11 * y) + m12 * z) / depth
        depths[j] = depth


@njit(**COMPILED)
@no_type_check
def _paint_pixels(block, count, start, height, width, nearest, winner):
    zero, bottom, right = np.float32(0), np.float32(height), np.float32(width)
    for j in range(count):
        u, v, z = block[0, j], block[1, j], block[2, j]
        if (z > zero) & (u >= zero) & (u < right) & (v >= zero) & (v < bottom):
            pixel = np.int64(v) * width + np.int64(u)
            # Points come in order, so "nearer" without "or as near" keeps the first of a tie.
            if z < nearest[pixel]:
                nearest[pixel] = z
                winner[pixel] = start + j


@njit(**COMPILED)
@no_type_check
def _paint_squares(block, count, start, height, width, radius, nearest, winner):
    low, bottom, right = np.float32(-radius), np.float32(height), np.float32(width)
    for j in range(count):
        u, v, z = np.floor(block[0, j]), np.floor(block[1, j]), block[2, j]
        near_image = (u >= low) & (u < right - low) & (v >= low) & (v < bottom - low)
        if (z > np.float32(0)) & near_image:
            column, row = np.int64(u), np.int64(v)
            for y in range(max(row - radius, 0), min(row + radius + 1, height)):
                for x in range(max(column - radius, 0), min(column + radius + 1, width)):
                    pixel = y * width + x
                    if z < nearest[pixel]:
                        nearest[pixel] = z
                        winner[pixel] = start + j


@njit(**COMPILED)
@no_type_check
def _fetch_colours(rgb, winner, nearest, video, visible):
    red, green, blue = video[0], video[1], video[2]
    for pixel in range(nearest.size):
        seen = nearest[pixel] < np.float32(np.inf)
        visible[pixel] = seen
        if seen:
            point = winner[pixel]
            red[pixel], green[pixel], blue[pixel] = rgb[point, 0], rgb[point, 1], rgb[point, 2]
        else:
            red[pixel], green[pixel], blue[pixel] = 0, 0, 0
            nearest[pixel] = 0
