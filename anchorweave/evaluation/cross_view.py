"""Consistency of a memory between target views: ghosts and flicker.

What the memory shows at a pixel of target frame t is compared with what it shows in frame t + gap,
at the pixel to which the true surface moves according to the true depth, which must be known. If a
memory shows one surface at two places, or a different memory is used from some chunk on, the
colours differ. In addition, what it shows has a depth of its own, by which it moves over the image
differently from the true surface.

The true frames also differ, by lighting, noise and resampling: their difference at the same pixels
is the noise floor. A cloud that is displaced as a whole is consistent with itself; its error shows
up in PSNR instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anchorweave.clip import Clip
from anchorweave.geometry.point_cloud import depth_edges
from anchorweave.geometry.projection import project, unproject

# Not given in any paper. A larger relative depth difference means another surface: real depth of
# one surface differs by 1.4 % at the 90th percentile.
SAME_SURFACE = 0.05
# Relative depth step between neighbours that counts as an edge, where reprojection is ambiguous.
EDGE = 0.1


@dataclass(frozen=True)
class CrossView:
    """Disagreement over all pairs of frames at distance `gap`.

    Args:
        colour: mean absolute difference of what is shown, in 8-bit levels [0, 255].
        truth: the same for the true frames at the same pixels.
        motion: median distance in pixels between where the shown and the true surface move to.
        share: fraction of all pixels of the earlier frames that could be compared, in [0, 1].
    """

    colour: float | None
    truth: float | None
    motion: float | None
    share: float


def cross_view(
    video: Float[Tensor, "T 3 H W"],
    depth: Float[Tensor, "T H W"],
    counts: Bool[Tensor, "T H W"],
    target: Clip,
    gap: int,
) -> CrossView:
    """Compares what is shown in every target frame with what is shown `gap` frames later.

    A pixel of the earlier frame is compared if it counts and is static, its true depth is known and
    not at an edge, its surface projects to a pixel of the later frame that counts, and the true
    depth there belongs to the same surface. Colours are read at those two pixels, without
    interpolation.

    Args:
        video: what a memory shows in the T target frames, in [0, 1].
        depth: depth of what it shows in the target's cameras, in their unit.
        counts: the pixels that count; the memory must show something in each.
        target: the true frames, depth (0 = unknown) and cameras.
        gap: distance in frames, >= 1.

    Returns:
        None and a share of 0 if there is nothing to compare.

    Raises:
        ValueError: a gap below 1.
    """
    if gap < 1:
        raise ValueError(f"gap={gap}: must be 1 or more")
    still = target.static_depth
    surface = (still > 0) & ~depth_edges(still, EDGE)
    colours, truths, distances = [], [], []
    for early in range(len(target) - gap):
        late = early + gap
        here = (surface[early] & counts[early]).nonzero()
        positions, z = _landing(still[early], target, here, early, late)
        drawn, ahead = _landing(depth[early], target, here, early, late)
        row, column, inside = _pixels(positions, target.cameras.size)
        true = still[late][row, column]
        same = inside & (z > 0) & (ahead > 0) & (true > 0) & counts[late][row, column]
        same &= (z - true).abs() <= SAME_SURFACE * true
        pixel, target_pixel = here[same].unbind(-1), (row[same], column[same])
        colours.append(_difference(video[early], video[late], pixel, target_pixel))
        truths.append(_difference(target.frames[early], target.frames[late], pixel, target_pixel))
        distances.append((drawn - positions)[same].norm(dim=-1))
    distance = torch.cat(distances) if distances else torch.zeros(0)
    if not len(distance):
        return CrossView(None, None, None, 0.0)
    pixels = len(distances) * depth[0].numel()
    return CrossView(
        255 * torch.cat(colours).double().mean().item(),
        255 * torch.cat(truths).double().mean().item(),
        distance.median().item(),
        len(distance) / pixels,
    )


def _landing(depth: Tensor, target: Clip, here: Tensor, early: int, late: int):
    """Projections of pixels `here` at `depth` from one frame into another: [P, 2], z [P]."""
    points = unproject(depth, target.cameras[early])[here[:, 0], here[:, 1]]
    return project(points, target.cameras[late])


def _pixels(positions: Tensor, size: tuple[int, int]):
    """Row and column [P] of the pixels containing the positions, and which are inside the image."""
    column, row = positions.floor().long().unbind(-1)
    inside = (column >= 0) & (column < size[1]) & (row >= 0) & (row < size[0])
    return row.clamp(0, size[0] - 1), column.clamp(0, size[1] - 1), inside


def _difference(one: Tensor, other: Tensor, pixel: tuple, there: tuple) -> Float[Tensor, " P"]:
    """Mean over the colour channels of |one - other| at pixels of each [P]."""
    return (one[:, pixel[0], pixel[1]] - other[:, there[0], there[1]]).abs().mean(dim=0)
