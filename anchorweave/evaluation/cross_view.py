"""Consistency of a memory between target views: ghosts and flicker.

What it shows at a pixel of target frame t is looked up in what it shows of frame t + gap, at the
pixel where the surface that is truly there lies then: by the true depth, which has to be known. If
a memory shows one surface at two places, or another memory from one chunk on, the colours differ.
And what it shows stands at a depth of its own, by which it moves over the image in another way than
the surface does.

The true frames differ as well, by light, noise and the step from pixel to pixel: their difference
at the same pixels is the floor. A cloud that is displaced as a whole agrees with itself; that it is
wrong is for PSNR to say.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anchorweave.clip import Clip
from anchorweave.geometry.point_cloud import depth_edges
from anchorweave.geometry.projection import project, unproject

# Not given in any paper. Depth that differs by more, as a share, is another surface's: real depth
# of one surface differs by 1.4 % at the 90th percentile.
SAME_SURFACE = 0.05
# Relative step in depth from which on neighbours are a jump, at which a surface has no one place.
EDGE = 0.1


@dataclass(frozen=True)
class CrossView:
    """Disagreement over all pairs of frames that are `gap` apart.

    Args:
        colour: mean absolute difference of what is shown, in 8-bit levels [0, 255].
        truth: the same of the true frames at the same pixels.
        motion: by how many pixels what is shown comes to lie away from the true surface, median.
        share: of all pixels of the earlier frames, how many could be compared, in [0, 1].
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
    """Compares what is shown of every target frame with what is shown of the one `gap` later.

    A pixel of the earlier frame is compared if it counts and is of no moving thing, its true depth
    is known and is no jump, its surface lands in a pixel of the later frame that counts, and the
    true depth there is that of the same surface. Colours are those of the two pixels, nothing is
    interpolated.

    Args:
        video: what a memory shows of the T target frames, in [0, 1].
        depth: how far what it shows is from the target's camera, in the unit of its cameras.
        counts: the pixels that count; a memory must show something in each.
        target: the true frames, depth (0 = unknown) and cameras.
        gap: how many frames apart, 1 or more.

    Returns:
        None and a share of 0 if there is nothing to compare.

    Raises:
        ValueError: a gap below 1.
    """
    if gap < 1:
        raise ValueError(f"gap={gap}: frames to compare are 1 or more apart")
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
        pixel, there = here[same].unbind(-1), (row[same], column[same])
        colours.append(_difference(video[early], video[late], pixel, there))
        truths.append(_difference(target.frames[early], target.frames[late], pixel, there))
        distances.append((drawn - positions)[same].norm(dim=-1))
    found = torch.cat(distances) if distances else torch.zeros(0)
    if not len(found):
        return CrossView(None, None, None, 0.0)
    pixels = len(distances) * depth[0].numel()
    return CrossView(
        255 * torch.cat(colours).double().mean().item(),
        255 * torch.cat(truths).double().mean().item(),
        found.median().item(),
        len(found) / pixels,
    )


def _landing(depth: Tensor, target: Clip, here: Tensor, early: int, late: int):
    """Where what stands at `depth` in pixels `here` of one frame lies in another: [P, 2], z [P]."""
    points = unproject(depth, target.cameras[early])[here[:, 0], here[:, 1]]
    return project(points, target.cameras[late])


def _pixels(positions: Tensor, size: tuple[int, int]):
    """Row and column [P] of the pixels that hold the positions, and which lie in the image."""
    column, row = positions.floor().long().unbind(-1)
    inside = (column >= 0) & (column < size[1]) & (row >= 0) & (row < size[0])
    return row.clamp(0, size[0] - 1), column.clamp(0, size[1] - 1), inside


def _difference(one: Tensor, other: Tensor, pixel: tuple, there: tuple) -> Float[Tensor, " P"]:
    """Mean over the colour channels of |one - other| at pixels of each [P]."""
    return (one[:, pixel[0], pixel[1]] - other[:, there[0], there[1]]).abs().mean(dim=0)
