"""Which pixels of one coarse view show a surface that another view shows too.

A pixel's point counts as seen by another camera if its depth there differs from the depth of the
pixel it projects to by at most a fraction of the latter: a surface that is occluded there is not
seen. Compiled, because choosing key frames or the frames of a limited memory compares many views.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Bool, Float, Int32
from numba import njit
from torch import Tensor

from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.projection import image_to_image
from anchorweave.geometry.threads import in_threads
from anchorweave.retrieval.coarse_views import CoarseViews

COMPILED = {"nogil": True, "cache": True, "error_model": "numpy"}


def shown_before(
    depth: Float[Tensor, "h w"], camera: Cameras, earlier: CoarseViews, tolerance: float
) -> Bool[Tensor, "h w"]:
    """Which pixels of a view show a surface that at least one of M earlier views shows too.

    Args:
        depth: depth of the view, on the CPU; pixels without depth (0) show nothing.
        camera: its camera, of image size (h, w).
        earlier: M views.
        tolerance: relative depth difference up to which two depths belong to one surface.
    """
    return times_shown(depth, camera, earlier, tolerance) > 0


def times_shown(
    depth: Float[Tensor, "h w"], camera: Cameras, others: CoarseViews, tolerance: float
) -> Int32[Tensor, "h w"]:
    """For each pixel of a view, the number of `others` that see its surface; see `shown_before`."""
    matrices, offsets = image_to_image(camera[None], others.cameras)
    counts = np.zeros(tuple(depth.shape), np.int32)
    pixels, maps, limit = depth.float().numpy(), others.depth.numpy(), np.float32(tolerance)

    def count(worker: int, workers: int) -> None:
        for n in range(len(maps)):
            _count(pixels, matrices[0, n], offsets[0, n], maps[n], limit, worker, workers, counts)

    in_threads(count, len(counts))
    return torch.from_numpy(counts)


def seen_from(
    depth: Float[Tensor, "h w"], camera: Cameras, others: CoarseViews, tolerance: float
) -> Int32[Tensor, "M h2 w2"]:
    """For each of M `others`, 1 at the pixels whose surface a view with `depth` sees, else 0."""
    matrices, offsets = image_to_image(others.cameras, camera[None])
    counts = np.zeros(tuple(others.depth.shape), np.int32)
    seeing, maps, limit = depth.float().numpy(), others.depth.numpy(), np.float32(tolerance)

    def count(worker: int, workers: int) -> None:
        for n in range(worker, len(maps), workers):
            _count(maps[n], matrices[n, 0], offsets[n, 0], seeing, limit, 0, 1, counts[n])

    in_threads(count, len(counts))
    return torch.from_numpy(counts)


@njit(**COMPILED)
@no_type_check
def _count(depth, matrix, offset, other, tolerance, first, step, counts):
    # Adds 1 at each pixel in every `step`-th row of `depth` whose surface is in `other`.
    height, width = np.float32(other.shape[0]), np.float32(other.shape[1])
    zero, half = np.float32(0), np.float32(0.5)
    for i in range(first, depth.shape[0], step):
        y = np.float32(i) + half
        for j in range(depth.shape[1]):
            x = np.float32(j) + half
            d = depth[i, j]
            z = ((matrix[2, 0] * x + matrix[2, 1] * y) + matrix[2, 2]) * d + offset[2]
            if d > zero and z > zero:
                u = (((matrix[0, 0] * x + matrix[0, 1] * y) + matrix[0, 2]) * d + offset[0]) / z
                v = (((matrix[1, 0] * x + matrix[1, 1] * y) + matrix[1, 2]) * d + offset[1]) / z
                if u >= zero and u < width and v >= zero and v < height:
                    there = other[int(v), int(u)]
                    if there > zero and abs(z - there) <= tolerance * there:
                        counts[i, j] += 1
