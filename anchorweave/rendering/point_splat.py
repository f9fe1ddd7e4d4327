"""Point splatting with an exact z-buffer: the plain torch reference, on any device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anchorweave.geometry.cameras import Cameras

# Maximum points x views per scatter: 8 bytes per key, and a few tensors of that size.
MOST_KEYS = 1 << 24


@dataclass(frozen=True)
class Splat:
    """A point cloud as seen by T cameras.

    Args:
        video: colours [T, 3, H, W] in [0, 1], black where no point projects.
        visible: [T, H, W], True where a point projects.
        depth: z of the visible point [T, H, W], in the unit of the cameras; 0 where none projects.
    """

    video: Float[Tensor, "T 3 H W"]
    visible: Bool[Tensor, "T H W"]
    depth: Float[Tensor, "T H W"]


def splat_points(
    points: Float[Tensor, "P 3"],
    colours: Float[Tensor, "P 3"],
    cameras: Cameras,
    radius: int = 0,
    out: tuple[Float[Tensor, "T 3 H W"], Bool[Tensor, "T H W"]] | None = None,
) -> Splat:
    """Renders a point cloud with a z-buffer: each pixel shows the nearest point that covers it.

    Computed in float32. Among points at the same depth, the first in the cloud wins.

    Args:
        points: world positions [P, 3].
        colours: [P, 3] in [0, 1].
        cameras: T cameras.
        radius: each point covers a square of side 2 * radius + 1 pixels around its own pixel.
        out: contiguous tensors that receive `video` and `visible`; None = new ones.

    Raises:
        ValueError: a negative radius, cameras without a time axis, or mismatched counts.
    """
    check_splat(points, colours, cameras, radius)
    matrices, centres = image_from_world(cameras)
    matrices, centres = matrices.to(points.device), centres.to(points.device)
    points, colours = points.float(), colours.float()
    if not len(points):
        # An empty cloud has no point to index; a NaN point projects nowhere.
        points, colours = points.new_full((1, 3), torch.nan), colours.new_zeros(1, 3)
    at_once = max(MOST_KEYS // len(points), 1)
    parts = [
        _splat(
            points, colours, matrices[t : t + at_once], centres[t : t + at_once], cameras, radius
        )
        for t in range(0, max(len(cameras), 1), at_once)
    ]
    splat = Splat(*(torch.cat(values) for values in zip(*parts, strict=True)))
    if out is None:
        return splat
    return Splat(out[0].copy_(splat.video), out[1].copy_(splat.visible), splat.depth)


def _splat(
    points: Tensor,
    colours: Tensor,
    matrices: Tensor,
    centres: Tensor,
    cameras: Cameras,
    radius: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Renders some of the views in one scatter, without host-device synchronisation."""
    (H, W), T = cameras.size, len(matrices)
    column, row, z = _pixels(points, matrices, centres)
    winner = _nearest(column, row, z, (H, W), radius)  # [T, H*W]
    visible = winner >= 0
    index = winner.clamp(min=0)
    video = torch.where(visible[..., None], colours[index], 0.0).mT
    depth = torch.where(visible, z.gather(1, index), 0.0)
    return video.reshape(T, 3, H, W), visible.view(T, H, W), depth.view(T, H, W)


def check_splat(points: Tensor, colours: Tensor, cameras: Cameras, radius: int) -> None:
    """Raises ValueError for inputs `splat_points` cannot handle; shared by both renderers."""
    if radius < 0:
        raise ValueError(f"the splat radius must be 0 pixels or more, got {radius}")
    if cameras.c2w.ndim != 3:
        raise ValueError(
            f"rendering needs cameras [T, 4, 4], got {tuple(cameras.c2w.shape)}; "
            "pick one as cameras[i : i + 1]"
        )
    if points.shape != colours.shape or points.shape[1:] != (3,):
        raise ValueError(
            "points and colours must both be [P, 3], got "
            f"{tuple(points.shape)} and {tuple(colours.shape)}"
        )


def image_from_world(cameras: Cameras) -> tuple[Float[Tensor, "T 3 3"], Float[Tensor, "T 3"]]:
    """K @ rotation of w2c [T, 3, 3] and optical centres [T, 3], float32 on the CPU.

    Both renderers use these and apply them with the same order of rounding, so that they agree bit
    for bit. The centre is subtracted first: far from the world's origin, a single float32 matrix `K
    @ w2c` would lose precision.
    """
    cameras = cameras.to("cpu", torch.float64)
    return (cameras.K @ cameras.c2w[..., :3, :3].mT).float(), cameras.centres.float()


def _pixels(points: Tensor, matrices: Tensor, centres: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Column, row (not yet integers within the image) and depth of every point, [T, P]."""
    x, y, z = (points[None] - centres[:, None]).unbind(-1)
    # Written out: a matrix product would round in an order that differs between machines.
    u, v, depth = (
        (row[:, :1] * x + row[:, 1:2] * y) + row[:, 2:] * z for row in matrices.unbind(1)
    )
    return torch.floor(u / depth), torch.floor(v / depth), depth


def _nearest(column: Tensor, row: Tensor, z: Tensor, size: tuple[int, int], radius: int) -> Tensor:
    """Index of the point that each pixel shows [T, H*W], or -1."""
    (H, W), (T, P) = size, z.shape
    # Positive floats sort like their bits, so one integer minimum finds depth, then index.
    key = (z.view(torch.int32).long() << 32) | torch.arange(P, device=z.device)
    empty = torch.iinfo(torch.int64).max
    # Points outside go to an extra pixel after each image rather than being filtered out: their
    # number would force the host to synchronise with the device.
    nearest = torch.full((T, H * W + 1), empty, device=z.device)
    steps = range(-radius, radius + 1)
    for down, right in ((down, right) for down in steps for right in steps):
        i, j = row + down, column + right
        inside = (z > 0) & (i >= 0) & (i < H) & (j >= 0) & (j < W)
        pixel = torch.where(inside, i, 0).long() * W + torch.where(inside, j, 0).long()
        pixel = torch.where(inside, pixel, H * W)
        nearest.scatter_reduce_(1, pixel, key, "amin")
    nearest = nearest[:, :-1]
    return torch.where(nearest == empty, -1, nearest & 0xFFFFFFFF)
