"""Fast CPU counterpart of `point_splat.splat_points`: same arguments, bit-identical output.

Points are projected in short blocks that stay in cache (vectorised by the compiler); each pixel
then keeps the smallest key, depth above point index, in one memory access; colours are fetched once
per pixel rather than once per point. Views are distributed over threads.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Bool, Float
from numba import njit
from torch import Tensor

from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.threads import in_threads
from anchorweave.rendering.point_splat import Splat, check_splat, image_from_world

BLOCK = 1024  # points projected at a time: 16 kB, which fits any L1 cache
# With the numpy error model 0 / 0 is NaN, which fails every comparison below.
COMPILED = {"nogil": True, "cache": True, "error_model": "numpy"}
INFINITY = 0x7F800000  # the bits of float32's infinity


def splat_points(
    points: Float[Tensor, "P 3"],
    colours: Float[Tensor, "P 3"],
    cameras: Cameras,
    radius: int = 0,
    out: tuple[Float[Tensor, "T 3 H W"], Bool[Tensor, "T H W"]] | None = None,
) -> Splat:
    """Renders a point cloud; bit-identical to `point_splat.splat_points`, which see.

    Raises:
        ValueError: as there, or tensors that are not on the CPU.
    """
    check_splat(points, colours, cameras, radius)
    if points.device.type != "cpu" or colours.device.type != "cpu":
        raise ValueError(
            f"the numba renderer runs on the CPU, got points on {points.device} and colours on "
            f"{colours.device}; use renderer torch (or auto)"
        )
    matrices, centres = (value.numpy() for value in image_from_world(cameras))
    # Coordinates as separate contiguous arrays, so that SIMD can load them.
    xyz = points.detach().float().mT.contiguous().numpy()
    # One extra colour, black, for pixels without a point: fetching then needs no branch.
    rgb = torch.nn.functional.pad(colours.detach().float(), (0, 0, 0, 1)).numpy()
    T, (H, W) = len(cameras), cameras.size
    # numpy requests huge pages, torch does not: page faults took half of the time.
    if out is None:
        video, visible = np.empty((T, 3, H, W), np.float32), np.empty((T, H, W), np.bool_)
    else:
        video, visible = (part.numpy() for part in out)
    depth = np.empty((T, H, W), np.float32)

    def render(worker: int, workers: int) -> None:
        keys = np.empty(H * W + 1, np.int64)
        block = np.empty((3, BLOCK), np.float32)
        pixels = np.empty(BLOCK, np.int32)
        for t in range(worker, T, workers):
            _paint(xyz, matrices[t], centres[t], radius, H, W, keys, block, pixels)
            bits = depth[t].view(np.int32).ravel()
            _fetch(rgb, keys, video[t].reshape(3, -1), visible[t].ravel(), bits)

    in_threads(render, T)
    return Splat(*(torch.from_numpy(value) for value in (video, visible, depth)))


@njit(**COMPILED)
@no_type_check
def _paint(xyz, matrix, centre, radius, height, width, keys, block, pixels):
    # Positive floats sort like their bits, so one integer minimum finds depth, then the first point
    # of a tie. The last key is for points outside the image.
    keys[:] = (np.int64(INFINITY) << 32) | np.int64(xyz.shape[1])
    bits = block[2].view(np.int32)
    for start in range(0, xyz.shape[1], BLOCK):
        stop = min(start + BLOCK, xyz.shape[1])
        # Separate row arguments, because only then does the compiler know that they are contiguous.
        _project(xyz[0, start:stop], xyz[1, start:stop], xyz[2, start:stop], matrix, centre, block)
        for down in range(-radius, radius + 1):
            for right in range(-radius, radius + 1):
                _find_pixels(block[0], block[1], block[2], down, right, height, width, pixels)
                for j in range(stop - start):
                    key = (np.int64(bits[j]) << 32) | np.int64(start + j)
                    if key < keys[pixels[j]]:
                        keys[pixels[j]] = key


@njit(**COMPILED)
@no_type_check
def _project(xs, ys, zs, matrix, centre, block):
    # Only locals and arithmetic in the loop, or the compiler does not vectorise it.
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
        columns[j] = np.floor(((m00 * x + m01 * y) + m02 * z) / depth)
        rows[j] = np.floor(((m10 * x + m11 * y) + m12 * z) / depth)
        depths[j] = depth


@njit(**COMPILED)
@no_type_check
def _find_pixels(columns, rows, depths, down, right, height, width, pixels):
    zero, bottom, edge = np.float32(0), np.float32(height), np.float32(width)
    down, right, stride = np.float32(down), np.float32(right), np.int32(width)
    for j in range(pixels.size):
        u, v = columns[j] + right, rows[j] + down
        inside = (depths[j] > zero) & (u >= zero) & (u < edge) & (v >= zero) & (v < bottom)
        row = np.int32(v) if inside else np.int32(height)
        pixels[j] = row * stride + (np.int32(u) if inside else np.int32(0))


@njit(**COMPILED)
@no_type_check
def _fetch(rgb, keys, video, visible, depth_bits):
    red, green, blue = video[0], video[1], video[2]
    for pixel in range(visible.size):
        point = keys[pixel] & np.int64(0xFFFFFFFF)
        red[pixel], green[pixel], blue[pixel] = rgb[point, 0], rgb[point, 1], rgb[point, 2]
    for pixel in range(visible.size):
        bits = np.int32(keys[pixel] >> 32)
        seen = bits < np.int32(INFINITY)
        visible[pixel] = seen
        depth_bits[pixel] = bits if seen else np.int32(0)
