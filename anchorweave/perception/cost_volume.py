"""The plane sweep's cost volume: how badly sources agree with a view, for each depth plane.

Costs are in [0, 1]: 0 if the windows correlate perfectly, 0.5 if there is no evidence (no texture),
1 if they are anticorrelated or the source does not see the point.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.geometry.cameras import Cameras
from anchorweave.perception import cost_volume_torch, photo_cost_numba, smoothing_numba

# Standard deviation of camera noise: windows with less contrast than this are uninformative.
NOISE = 0.01
# Brightness step at which semi-global smoothing halves its penalty for depth jumps.
EDGE = 0.05


def photo_cost(
    view: Float[Tensor, "H W"],
    camera: Cameras,
    sources: Float[Tensor, "S h w"],
    source_cameras: Cameras,
    inverse_depths: Float[Tensor, " D"],
    window: int,
) -> Float[Tensor, "D H W"]:
    """Cost of assigning each pixel of `view` to each fronto-parallel plane.

    Per source it is (1 - ZNCC) / 2 over a window, in which what the source does not see is black;
    over sources, the mean of the better half, since the worse half may be occluded.

    Args:
        view: grey values in [0, 1].
        camera: the view's camera, c2w [4, 4].
        sources: grey values of S >= 1 other views, on the same device.
        source_cameras: their cameras, [S].
        inverse_depths: 1 / depth of the D planes in the view's camera.
        window: side of the window in pixels, odd.
    """
    # The homography of plane 1 / z splits into a pixel-dependent and a plane-dependent part.
    view2source = camera.relative_to(source_cameras)
    homographies = source_cameras.K @ view2source[..., :3, :3] @ torch.linalg.inv(camera.K)
    shifts = (source_cameras.K @ view2source[..., :3, 3:])[..., 0]
    fastest = photo_cost_numba if _on_cpu(view) else cost_volume_torch
    return fastest.photo_cost(
        view, homographies.to(view), shifts.to(view), sources, inverse_depths, window, NOISE
    )


def semi_global(
    cost: Float[Tensor, "D H W"],
    guide: Float[Tensor, "H W"],
    small_jump: float,
    large_jump: float,
) -> Float[Tensor, "D H W"]:
    """Costs summed along smooth paths from left, right, above and below.

    Args:
        cost: a cost volume.
        guide: grey values of the view; jumps are cheaper across its edges.
        small_jump: penalty of a step to the next plane.
        large_jump: penalty of any larger step, where the guide is flat.

    Source: Hirschmuller, "Stereo processing by semiglobal matching and mutual information",
    2008, equation 13; four directions.
    """
    steps = (guide.diff(dim=axis).abs() for axis in (0, 1))
    down, across = ((large_jump / (1 + step / EDGE)).clamp(min=small_jump) for step in steps)
    fastest = smoothing_numba if _on_cpu(cost) else cost_volume_torch
    return fastest.semi_global(cost, (down, across), small_jump)


def winner(
    cost: Float[Tensor, "D H W"], inverse_depths: Float[Tensor, " D"]
) -> tuple[Float[Tensor, "H W"], Float[Tensor, "H W"]]:
    """The lowest-cost plane of every pixel, refined by a parabola through its neighbours' costs.

    Args:
        cost: a cost volume of D >= 3 planes.
        inverse_depths: 1 / depth of the planes, evenly spaced.

    Returns:
        Fractional plane index in [0, D - 1] and the inverse depth there, both [H, W].
    """
    best = (smoothing_numba if _on_cpu(cost) else cost_volume_torch).lowest_plane(cost)
    inner = best.clamp(1, len(cost) - 2)
    below, at, above = (cost.gather(0, (inner + offset)[None])[0] for offset in (-1, 0, 1))
    bend = below - 2 * at + above
    offset = (below - above) / (2 * bend.clamp(min=1e-6))
    index = torch.where(best == inner, inner + offset.clamp(-0.5, 0.5), best.to(cost))
    spacing = (inverse_depths[-1] - inverse_depths[0]) / (len(cost) - 1)
    return index, inverse_depths[0] + index * spacing


def _on_cpu(values: Tensor) -> bool:
    return values.device.type == "cpu"
