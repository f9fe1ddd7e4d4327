"""Coloured points to images with an exact z-buffer: the plain torch reference, on any device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anchorweave.geometry.cameras import Cameras


@dataclass(frozen=True)
class Splat:
    """What T cameras see of a point cloud.

    Args:
        video: colours [T, 3, H, W] in [0, 1], black where no point landed.
        visible: [T, H, W], True where a point landed.
        depth: z of the point shown [T, H, W], in the unit of the cameras; 0 where none landed.
    """

    video: Float[Tensor, "T 3 H W"]
    visible: Bool[Tensor, "T H W"]
    depth: Float[Tensor, "T H W"]


def splat_points(
    points: Float[Tensor, "P 3"],
    colours: Float[Tensor, "P 3"],
    cameras: Cameras,
    radius: int = 0,
) -> Splat:
    """Renders a point cloud: every point paints the pixel it lands in, the nearest one is shown.

    Computed in float32. Of points at the very same depth, the first one of the cloud is shown.

    Args:
        points: world positions [P, 3].
        colours: [P, 3] in [0, 1].
        cameras: T cameras.
        radius: a point paints a square of 2 * radius + 1 pixels a side around its own pixel.

    Raises:
        ValueError: a negative radius, cameras without a time axis, or counts that differ.
    """
    check_splat(points, colours, cameras, radius)
    matrices, centres = image_from_world(cameras)
    matrices, centres = matrices.to(points.device), centres.to(points.device)
    points, colours = points.float(), colours.float()
    H, W = cameras.size
    T = len(cameras)
    video = points.new_zeros(T, 3, H * W)
    visible = torch.zeros(T, H * W, dtype=torch.bool, device=points.device)
    depth = points.new_zeros(T, H * W)
    for t in range(T):
        column, row, z = _pixels(points, matrices[t], centres[t])
        winner = _nearest(column, row, z, (H, W), radius)
        visible[t] = winner >= 0
        shown = winner[visible[t]]
        video[t][:, visible[t]] = colours[shown].mT
        depth[t, visible[t]] = z[shown]
    return Splat(video.view(T, 3, H, W), visible.view(T, H, W), depth.view(T, H, W))


def check_splat(points: Tensor, colours: Tensor, cameras: Cameras, radius: int) -> None:
    """Raises ValueError where `splat_points` cannot work; shared by both renderers."""
    if radius < 0:
        raise ValueError(f"the splat radius must be 0 pixels or more, met {radius}")
    if cameras.c2w.ndim != 3:
        raise ValueError(
            f"rendering takes cameras [T, 4, 4], met {tuple(cameras.c2w.shape)}; "
            "pick one as cameras[i : i + 1]"
        )
    if points.shape != colours.shape or points.shape[1:] != (3,):
        raise ValueError(
            "points and colours must both be [P, 3], met "
            f"{tuple(points.shape)} and {tuple(colours.shape)}"
        )


def image_from_world(cameras: Cameras) -> tuple[Float[Tensor, "T 3 3"], Float[Tensor, "T 3"]]:
    """K @ rotation of w2c [T, 3, 3] and optical centres [T, 3], float32 on the CPU.

    Both renderers take them from here and apply them in one order of rounding, so that they agree
    bit for bit. The centre is subtracted first: far from the world's origin, float32 could not
    carry `K @ w2c` in one matrix.
    """
    cameras = cameras.to("cpu", torch.float64)
    return (cameras.K @ cameras.c2w[..., :3, :3].mT).float(), cameras.centres.float()


def _pixels(points: Tensor, matrix: Tensor, centre: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Column, row (not yet whole numbers that fit the image) and depth of every point, [P]."""
    x, y, z = (points - centre).unbind(-1)
    # Spelled out: a matrix product would round in an order that differs between machines.
    u, v, depth = ((row[0] * x + row[1] * y) + row[2] * z for row in matrix)
    return torch.floor(u / depth), torch.floor(v / depth), depth


def _nearest(column: Tensor, row: Tensor, z: Tensor, size: tuple[int, int], radius: int) -> Tensor:
    """Index of the point that each pixel shows [H*W], or -1."""
    H, W = size
    # Positive floats sort like their bits, so one integer minimum finds depth, then index.
    key = (z.view(torch.int32).long() << 32) | torch.arange(len(z), device=z.device)
    empty = torch.iinfo(torch.int64).max
    nearest = torch.full((H * W,), empty, device=z.device)
    steps = range(-radius, radius + 1)
    for down, right in ((down, right) for down in steps for right in steps):
        i, j = row + down, column + right
        inside = (z > 0) & (i >= 0) & (i < H) & (j >= 0) & (j < W)
        pixel = i[inside].long() * W + j[inside].long()
        nearest.scatter_reduce_(0, pixel, key[inside], "amin")
    return torch.where(nearest == empty, -1, nearest & 0xFFFFFFFF)
