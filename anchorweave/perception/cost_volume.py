"""The plane sweep's cost volume: how badly sources agree with a view, for each depth plane.

Costs are in [0, 1]: 0 if the windows correlate perfectly, 0.5 if there is no evidence (no texture),
1 if they are anticorrelated or the source does not see the point.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.projection import pixel_centres

# Standard deviation of camera noise: windows with less contrast than this are uninformative.
NOISE = 0.01
# Brightness step at which semi-global smoothing halves its penalty for depth jumps.
EDGE = 0.05


def photo_cost(
    view: Float[Tensor, "H W"],
    camera: Cameras,
    sources: Float[Tensor, "S H W"],
    source_cameras: Cameras,
    inverse_depths: Float[Tensor, " D"],
    window: int,
    chunk: int = 16,
) -> Float[Tensor, "D H W"]:
    """Cost of assigning each pixel of `view` to each fronto-parallel plane.

    Per source it is (1 - ZNCC) / 2 over a window; over sources, the mean of the better half, since
    the worse half may be occluded.

    Args:
        view: grey values in [0, 1].
        camera: the view's camera, c2w [4, 4].
        sources: grey values of S >= 1 other views.
        source_cameras: their cameras, [S].
        inverse_depths: 1 / depth of the D planes in the view's camera.
        window: side of the window in pixels, odd.
        chunk: planes warped at a time; bounds memory and does not affect the result.
    """
    pixels = pixel_centres(camera.size, view)
    pixels = torch.cat([pixels, torch.ones_like(pixels[..., :1])], dim=-1)  # [H, W, 3]
    count = _box(torch.ones_like(view), window)
    mean = _box(view, window) / count
    variance = _box(view * view, window) / count - mean * mean + NOISE**2
    costs = []
    for planes in inverse_depths.split(chunk):
        best: list[Tensor] = []
        for image, source in zip(sources, source_cameras, strict=True):
            warped, seen = _warp(image, source, pixels, camera, planes)
            warped_mean = _box(warped, window) / count
            warped_variance = _box(warped * warped, window) / count - warped_mean**2 + NOISE**2
            covariance = _box(warped * view, window) / count - warped_mean * mean
            zncc = covariance * (variance * warped_variance).rsqrt()
            cost = torch.where(seen, (1 - zncc.clamp(-1, 1)) / 2, torch.ones_like(zncc))
            _keep_best(best, cost, (len(sources) + 1) // 2)
        costs.append(sum(best) / len(best))
    return torch.cat(costs)


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
    total = torch.zeros_like(cost)
    for axis in (1, 2):
        # Axis of the path first, planes last.
        lines = cost.movedim((axis, 0), (0, 2)).contiguous()  # [L, M, D]
        step = guide.movedim(axis - 1, 0).diff(dim=0).abs()  # [L - 1, M]
        jump = (large_jump / (1 + step / EDGE)).clamp(min=small_jump)[..., None]
        forth = _walk(lines, jump, small_jump)
        back = _walk(lines.flip(0), jump.flip(0), small_jump).flip(0)
        total += (forth + back).movedim((0, 2), (axis, 0))
    return total


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
    best = cost.argmin(dim=0)
    inner = best.clamp(1, len(cost) - 2)
    below, at, above = (cost.gather(0, (inner + offset)[None])[0] for offset in (-1, 0, 1))
    bend = below - 2 * at + above
    offset = (below - above) / (2 * bend.clamp(min=1e-6))
    index = torch.where(best == inner, inner + offset.clamp(-0.5, 0.5), best.to(cost))
    spacing = (inverse_depths[-1] - inverse_depths[0]) / (len(cost) - 1)
    return index, inverse_depths[0] + index * spacing


def _warp(
    image: Tensor, source: Cameras, pixels: Tensor, camera: Cameras, planes: Tensor
) -> tuple[Tensor, Tensor]:
    """A source image [H, W] warped to `camera` through planes [D, H, W], and where it is seen."""
    view2source = camera.relative_to(source)
    # The homography of plane 1/z splits into a pixel-dependent and a plane-dependent part.
    turned = pixels @ (source.K @ view2source[:3, :3] @ torch.linalg.inv(camera.K)).mT
    moved = planes[:, None] * (source.K @ view2source[:3, 3])  # [D, 3]
    x, y, z = (turned[None, ..., i] + moved[:, i, None, None] for i in range(3))  # [D, H, W]
    height, width = source.size
    front = z > 1e-6
    scale = 2 / torch.where(front, z, torch.ones_like(z))
    grid = torch.stack([x * scale / width - 1, y * scale / height - 1], dim=-1)
    seen = front & (grid.abs() < 1).all(dim=-1)
    # All planes are stacked into one tall image, so that the source is not replicated.
    warped = functional.grid_sample(
        image[None, None], grid.reshape(1, -1, grid.shape[2], 2), align_corners=False
    )
    return warped.reshape(z.shape), seen


def _box(image: Tensor, window: int) -> Tensor:
    """Sums over windows, with zeros around the image. Shifted sums are faster than pooling."""
    for axis in (-1, -2):
        size, reach = image.shape[axis], window // 2
        padding = (reach, reach) if axis == -1 else (0, 0, reach, reach)
        padded = functional.pad(image, padding)
        total = padded.narrow(axis, 0, size).clone()
        for shift in range(1, window):
            total += padded.narrow(axis, shift, size)
        image = total
    return image


def _keep_best(best: list[Tensor], cost: Tensor, count: int) -> None:
    """Inserts `cost` into the `count` lowest costs so far, lowest first."""
    for i in range(len(best)):
        best[i], cost = torch.minimum(best[i], cost), torch.maximum(best[i], cost)
    if len(best) < count:
        best.append(cost)


def _walk(lines: Tensor, jump: Tensor, small_jump: float) -> Tensor:
    """Path costs along the first axis of [L, M, D]; `jump` [L - 1, M, 1]: large-step penalty."""
    path = torch.empty_like(lines)
    path[0] = lines[0]
    for i in range(1, len(lines)):
        before = path[i - 1]
        floor = before.min(dim=-1, keepdim=True).values
        reach = torch.minimum(before, floor + jump[i - 1])
        reach[:, 1:] = torch.minimum(reach[:, 1:], before[:, :-1] + small_jump)
        reach[:, :-1] = torch.minimum(reach[:, :-1], before[:, 1:] + small_jump)
        # Subtracting the minimum keeps costs bounded along the path.
        path[i] = lines[i] + reach - floor
    return path
