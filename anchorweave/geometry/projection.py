"""Projection and unprojection between pixels and world points (pinhole, see `cameras.py`)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.geometry.cameras import Cameras


def pixel_centres(size: tuple[int, int], like: Float[Tensor, "..."]) -> Float[Tensor, "H W 2"]:
    """Pixel centres (u + 0.5, v + 0.5) [H, W, 2] of an image of `size`, as (x, y)."""
    y = torch.arange(size[0], device=like.device, dtype=like.dtype) + 0.5
    x = torch.arange(size[1], device=like.device, dtype=like.dtype) + 0.5
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def unproject(
    depth: Float[Tensor, "*batch H W"], cameras: Cameras
) -> Float[Tensor, "*batch H W 3"]:
    """World points [..., H, W, 3] of every pixel, at `depth` along the optical axis.

    Invalid pixels (depth 0) are returned at the optical centre; callers drop them.
    """
    x, y = pixel_centres(cameras.size, depth).unbind(-1)  # [H, W]
    K = cameras.K[..., None, None]
    rays = torch.stack(
        [
            (x - K[..., 0, 2, :, :]) / K[..., 0, 0, :, :],
            (y - K[..., 1, 2, :, :]) / K[..., 1, 1, :, :],
            torch.ones_like(x).expand(depth.shape),
        ],
        dim=-1,
    )
    points = rays * depth[..., None]
    rotation, centre = cameras.c2w[..., :3, :3], cameras.centres
    return torch.einsum("...ij,...hwj->...hwi", rotation, points) + centre[..., None, None, :]


def project(
    points: Float[Tensor, "P 3"], camera: Cameras
) -> tuple[Float[Tensor, "*batch P 2"], Float[Tensor, "*batch P"]]:
    """Image positions of world points in one or many cameras.

    Returns:
        Image positions in pixels [..., P, 2] (x, y; the first pixel's centre is at 0.5) and
        depths [..., P]. A point at depth <= 0 is behind the camera and its position is
        meaningless.
    """
    w2c = camera.w2c
    local = points @ w2c[..., :3, :3].mT + w2c[..., None, :3, 3]  # [..., P, 3]
    image = local @ camera.K.mT
    # Points behind the camera do not project; z = 1 keeps their division finite.
    z = local[..., 2]
    return image[..., :2] / torch.where(z > 0, z, torch.ones_like(z))[..., None], z


def image_to_image(
    sources: Cameras, targets: Cameras
) -> tuple[Float[np.ndarray, "C D 3 3"], Float[np.ndarray, "C D 3"]]:
    """How pixels with depth of C cameras project into D others.

    Returns:
        Matrices A [C, D, 3, 3] and offsets b [C, D, 3], float32 on the CPU, computed in float64: a
        pixel at (x, y) and depth z has A @ (x, y, 1) * z + b = (u, v, 1) * its depth there.
    """
    sources, targets = sources.to("cpu", torch.float64), targets.to("cpu", torch.float64)
    rotations = targets.K @ targets.c2w[:, :3, :3].mT  # [D, 3, 3]
    rays = sources.c2w[:, :3, :3] @ torch.linalg.inv(sources.K)  # [C, 3, 3]
    steps = sources.centres[:, None] - targets.centres  # [C, D, 3]
    matrices = torch.einsum("dij,cjk->cdik", rotations, rays)
    offsets = torch.einsum("dij,cdj->cdi", rotations, steps)
    return matrices.float().numpy(), offsets.float().numpy()
