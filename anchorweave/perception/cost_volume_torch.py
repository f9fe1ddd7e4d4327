"""The cost volume in torch, for any device.

`photo_cost_numba` and `smoothing_numba` are faster on the CPU.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from anchorweave.geometry.projection import pixel_centres

# Planes warped at a time; bounds memory and does not affect the result.
CHUNK = 16


def photo_cost(
    view: Float[Tensor, "H W"],
    homographies: Float[Tensor, "S 3 3"],
    shifts: Float[Tensor, "S 3"],
    sources: Float[Tensor, "S h w"],
    inverse_depths: Float[Tensor, " D"],
    window: int,
    noise: float,
) -> Float[Tensor, "D H W"]:
    """As `cost_volume.photo_cost`, with cameras as matrices.

    Args:
        view: grey values in [0, 1].
        homographies: from [x, y, 1] in pixels of the view to homogeneous pixels of each source, for
            a plane at infinity.
        shifts: what is added to those per unit of inverse depth.
        sources: grey values of S >= 1 other views.
        inverse_depths: 1 / depth of the D planes in the view's camera.
        window: side of the window in pixels, odd.
        noise: standard deviation of camera noise.
    """
    pixels = functional.pad(pixel_centres(view.shape, view), (0, 1), value=1.0)  # [H, W, 3]
    count, mean, variance = window_moments(view, window, noise)
    costs = []
    for planes in inverse_depths.split(CHUNK):
        best: list[Tensor] = []
        for image, turn, shift in zip(sources, homographies, shifts, strict=True):
            warped, seen = _warp(image, pixels @ turn.mT, planes[:, None] * shift)
            warped_mean = _box(warped, window) / count
            warped_variance = _box(warped * warped, window) / count - warped_mean**2 + noise**2
            covariance = _box(warped * view, window) / count - warped_mean * mean
            zncc = covariance * (variance * warped_variance).rsqrt()
            cost = torch.where(seen, (1 - zncc.clamp(-1, 1)) / 2, torch.ones_like(zncc))
            _keep_best(best, cost, (len(sources) + 1) // 2)
        costs.append(sum(best) / len(best))
    return torch.cat(costs)


def semi_global(
    cost: Float[Tensor, "D H W"], jumps: tuple[Tensor, Tensor], small_jump: float
) -> Float[Tensor, "D H W"]:
    """As `cost_volume.semi_global`.

    Args:
        cost: a cost volume.
        jumps: penalties of large jumps between rows [H - 1, W] and between columns [H, W - 1].
        small_jump: penalty of a step to the next plane.
    """
    total = torch.zeros_like(cost)
    for axis, jump in enumerate(jumps, start=1):
        # Axis of the path first, planes last.
        lines = cost.movedim((axis, 0), (0, 2)).contiguous()  # [L, M, D]
        jump = jump.movedim(axis - 1, 0)[..., None]  # [L - 1, M, 1]
        forth = _walk(lines, jump, small_jump)
        back = _walk(lines.flip(0), jump.flip(0), small_jump).flip(0)
        total += (forth + back).movedim((0, 2), (axis, 0))
    return total


def lowest_plane(cost: Float[Tensor, "D H W"]) -> Int[Tensor, "H W"]:
    """The first plane of lowest cost."""
    return cost.argmin(dim=0)


def window_moments(
    view: Float[Tensor, "H W"], window: int, noise: float
) -> tuple[Float[Tensor, "H W"], Float[Tensor, "H W"], Float[Tensor, "H W"]]:
    """Number of pixels of the window around each pixel, their mean, their variance with noise."""
    count = _box(torch.ones_like(view), window)
    mean = _box(view, window) / count
    return count, mean, _box(view * view, window) / count - mean * mean + noise**2


def _warp(
    image: Float[Tensor, "h w"], turned: Float[Tensor, "H W 3"], moved: Float[Tensor, "D 3"]
) -> tuple[Float[Tensor, "D H W"], Bool[Tensor, "D H W"]]:
    """A source warped to the view through each plane, 0 where unseen, and where it is seen."""
    x, y, z = (turned[None, ..., i] + moved[:, i, None, None] for i in range(3))  # [D, H, W]
    height, width = image.shape
    front = z > 0
    scale = 2 / torch.where(front, z, torch.ones_like(z))
    grid = torch.stack([x * scale / width - 1, y * scale / height - 1], dim=-1)
    seen = front & (grid.abs() < 1).all(dim=-1)
    # All planes are stacked into one tall image, so that the source is not replicated.
    warped = functional.grid_sample(
        image[None, None], grid.reshape(1, -1, grid.shape[2], 2), align_corners=False
    )
    return torch.where(seen, warped.reshape(z.shape), torch.zeros_like(z)), seen


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
