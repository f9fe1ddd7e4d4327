"""Which cameras see which part of space: a cheap visibility test that ignores occlusion."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float
from numba import njit
from torch import Tensor

from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.projection import unproject
from anchorweave.geometry.threads import in_threads


def frustum_points(
    cameras: Cameras, depths: Float[Tensor, " D"], grid: int
) -> Float[Tensor, "S 3"]:
    """World points sampled throughout the cameras' view frusta.

    Args:
        cameras: T cameras.
        depths: depths to sample at, in the unit of the cameras.
        grid: samples grid x grid points per depth, at the centres of equal image cells.

    Returns:
        Points [T * D * grid * grid, 3].
    """
    T, D = len(cameras), len(depths)
    # Resized to grid x grid, every pixel is one cell, whose centre is the sample.
    cells = cameras.resized((grid, grid))
    c2w, K = cells.c2w[:, None].expand(T, D, 4, 4), cells.K[:, None].expand(T, D, 3, 3)
    depth = depths.to(K)[:, None, None].expand(T, D, grid, grid)
    return unproject(depth, Cameras(c2w, K, cells.size)).reshape(-1, 3)


def seen_share(
    points: Float[Tensor, "S 3"], sources: Cameras, far: Float[Tensor, " M"]
) -> Float[Tensor, " M"]:
    """Fraction [M], in [0, 1], of the points that project into each source image at 0 < z <= far.

    Args:
        points: world positions [S, 3], S >= 1.
        sources: M cameras.
        far: maximum depth of each source camera [M], in the unit of the cameras.

    Raises:
        ValueError: no points, or not exactly one `far` per camera.
    """
    if len(points) == 0:
        raise ValueError("the fraction of zero points is undefined; give at least one")
    if len(far) != len(sources):
        raise ValueError(f"{len(sources)} cameras need one far limit each, got {len(far)}")
    exact = sources.to("cpu", torch.float64)
    matrices = (exact.K @ exact.c2w[:, :3, :3].mT).float().numpy()
    # Relative to one of the points, so that float32 suffices far from the world's origin.
    origin = points[0].to("cpu", torch.float64)
    centres = (exact.centres - origin).float().numpy()
    xyz = (points.to("cpu", torch.float64) - origin).float().mT.contiguous().numpy()
    limits = far.to("cpu", torch.float32).numpy()
    share = np.empty(len(sources), np.float32)

    def count(worker: int, workers: int) -> None:
        _count_seen(xyz, matrices, centres, limits, *sources.size, worker, workers, share)

    in_threads(count, len(sources))
    return torch.from_numpy(share)


@njit(nogil=True, cache=True, error_model="numpy")
@no_type_check
def _count_seen(xyz, matrices, centres, far, height, width, first, step, share):
    bottom, right = np.float32(height), np.float32(width)
    xs, ys, zs = xyz[0], xyz[1], xyz[2]
    for m in range(first, len(far), step):
        m00, m01, m02 = matrices[m, 0, 0], matrices[m, 0, 1], matrices[m, 0, 2]
        m10, m11, m12 = matrices[m, 1, 0], matrices[m, 1, 1], matrices[m, 1, 2]
        m20, m21, m22 = matrices[m, 2, 0], matrices[m, 2, 1], matrices[m, 2, 2]
        cx, cy, cz, limit = centres[m, 0], centres[m, 1], centres[m, 2], far[m]
        seen = np.int32(0)
        for j in range(xs.size):
            x, y, z = xs[j] - cx, ys[j] - cy, zs[j] - cz
            depth = m20 * x + m21 * y + m22 * z
            u = m00 * x + m01 * y + m02 * z
            v = m10 * x + m11 * y + m12 * z
            # 0 <= u / depth < right without the division; only positive depths can satisfy it.
            inside = (u >= 0) & (u < right * depth) & (v >= 0) & (v < bottom * depth)
            seen += np.int32(inside & (depth <= limit))
        share[m] = np.float32(seen) / np.float32(xs.size)
