"""Projection and unprojection between pixels and world points (pinhole, see `cameras.py`)."""

from __future__ import annotations

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
