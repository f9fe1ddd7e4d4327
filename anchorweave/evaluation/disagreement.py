"""How much two posed frames with depth disagree about what both see.

Memories of a real reconstruction put one surface at several places. Here the points of one frame
are projected into another: how much their depth differs, by how many pixels they are shifted, and
how well their colours agree.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample

from anchorweave.clip import Clip
from anchorweave.evaluation.image_metrics import psnr
from anchorweave.geometry.point_cloud import depth_edges
from anchorweave.geometry.projection import project, unproject

# Gauss-Newton iterations for the shift between two views; converges in four or five.
SHIFT_STEPS = 10
# Minimum number of points to estimate a shift from, so that they cover some texture.
FEWEST_POINTS = 16


@dataclass(frozen=True)
class CommonView:
    """Comparison of frame `a` with frame `b`, at the points that both see.

    Args:
        difference: |z - d| / d [P] between the depth z of a point of `a` in the camera of `b` and
            the depth d that `b` has there.
        psnr: PSNR of their colours against those of `b` at their projections, in dB; None for P =
            0.
        shift: global shift in pixels of `b` of the points of `a`, estimated from colour; None if
            colours are uninformative.
        share: fraction of the pixels of `a` among the P, in [0, 1].
    """

    difference: Float[Tensor, " P"]
    psnr: float | None
    shift: float | None
    share: float


def common_view(a: Clip, b: Clip, edge: float = 0.1, apart: float = 0.25) -> CommonView:
    """Compares the points of `a` with `b`.

    Excludes moving objects, and points at depth edges in either frame, where a shift of half a
    pixel looks like an arbitrary depth error. Depth is interpolated as 1 / depth, which is exact on
    planes.

    Args:
        a: one frame with depth.
        b: another one, in the same world.
        edge: relative depth step between neighbours that counts as an edge.
        apart: relative depth difference from which a point belongs to another surface (occluding or
            occluded), and is excluded.

    Raises:
        ValueError: clips that do not have exactly one frame.
    """
    if len(a.frames) != 1 or len(b.frames) != 1:
        raise ValueError(f"expected one frame each, got {len(a.frames)} and {len(b.frames)}")
    depths = a.static_depth[0], b.static_depth
    clean = (depths[0] > 0) & ~depth_edges(depths[0], edge)
    points = unproject(depths[0], a.cameras[0])[clean]
    positions, z = project(points, b.cameras[0])
    usable = (depths[1] > 0) & ~depth_edges(depths[1], edge)
    disparity = torch.where(usable, 1 / depths[1].clamp(min=1e-6), 0.0)
    samples = _sampled(torch.cat([disparity, usable.float(), b.frames[0]]), positions)
    # Below 1, one of the four surrounding pixels is an edge, invalid or outside the image.
    seen = (z > 0) & (samples[1] > 0.999)
    depth = 1 / samples[0].clamp(min=1e-6)
    difference = (z - depth).abs() / depth
    seen &= difference < apart
    colours = a.frames[0][:, clean][:, seen]
    return CommonView(
        difference[seen],
        psnr(colours[..., None], samples[2:, seen][..., None]),
        _shift(_grey(a)[0][clean][seen], _grey(b), positions[seen]),
        seen.sum().item() / clean.numel(),
    )


def _sampled(image: Float[Tensor, "C H W"], positions: Float[Tensor, "P 2"]) -> Tensor:
    """Values [C, P] between the pixels; outside the image everything is 0."""
    H, W = image.shape[1:]
    grid = 2 * positions / positions.new_tensor([W, H]) - 1
    return grid_sample(image[None], grid[None, None], align_corners=False)[0, :, 0]


def _grey(one: Clip) -> Float[Tensor, "1 H W"]:
    """Brightness, slightly blurred so that shifts of several pixels still have a gradient."""
    return avg_pool2d(one.frames[0].mean(0, keepdim=True), 3, 1, 1, count_include_pad=False)


def _shift(grey: Tensor, image: Float[Tensor, "1 H W"], positions: Float[Tensor, "P 2"]):
    """Length in pixels of the one shift that best moves `positions` to where `image` is `grey`."""
    if len(positions) < FEWEST_POINTS:
        return None
    down, right = torch.gradient(image, dim=(1, 2))
    maps = torch.cat([image, right, down])
    step = torch.zeros(2)
    for _ in range(SHIFT_STEPS):
        value, *slope = _sampled(maps, positions + step)
        error = value - grey
        # Exposure varies between frames of a real camera; only the pattern is informative.
        error = error - error.mean()
        slopes = torch.stack(slope)
        slopes = slopes - slopes.mean(dim=1, keepdim=True)
        normal = slopes @ slopes.mT
        if torch.linalg.det(normal) < 1e-6:
            return None
        step = step - torch.linalg.solve(normal, slopes @ error)
    length = step.norm().item()
    return length if length < min(image.shape[1:]) / 4 else None
