"""Keyframes: frames at even steps of image motion, each the sharpest near its step."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate, pad

# Frames are compared at this longer side, block by block.
SIDE, BLOCK = 192, 32
# Maximum offset of a keyframe from its step, as a fraction of the step.
REACH = 0.3


class Motion:
    """Measures image motion between frames and the sharpness of each, one frame at a time."""

    def __init__(self):
        self._last: Tensor | None = None
        self._shifts: list[float] = []
        self._sharpness: list[float] = []

    def see(self, frame: Float[Tensor, "3 H W"]) -> None:
        """Adds the next frame, colours in [0, 1]."""
        grey = frame.mean(dim=0)
        scale = SIDE / max(grey.shape)
        size = [max(BLOCK, round(side * scale / BLOCK) * BLOCK) for side in grey.shape]
        small = interpolate(grey[None, None], size, mode="bilinear", antialias=True)[0, 0]
        # At full size: slight blur is invisible in the small image.
        self._sharpness.append(_laplacian(grey).var().item())
        blocks = _blocks(small)
        if self._last is not None:
            self._shifts.append(_shift(self._last, blocks) / SIDE)
        self._last = blocks

    @property
    def shifts(self) -> Float[Tensor, " S"]:
        """Mean motion [T - 1] between consecutive frames, relative to the longer side."""
        return torch.tensor(self._shifts)

    @property
    def sharpness(self) -> Float[Tensor, " T"]:
        """Variance of the Laplacian of each frame; higher is sharper."""
        return torch.tensor(self._sharpness)


def choose_keyframes(
    shifts: Float[Tensor, " S"], sharpness: Float[Tensor, " T"], step: float, most: int
) -> list[int]:
    """Positions of keyframes, ascending; including the first and the last frame.

    Args:
        shifts: [T - 1], motion between consecutive frames, see `Motion`.
        sharpness: sharpness of each frame.
        step: distance between keyframes, in the unit of the shifts; 0 = all frames.
        most: maximum number; steps are widened to meet it.
    """
    count = len(sharpness)
    travelled = torch.cat([torch.zeros(1), shifts.cumsum(0)])
    total = travelled[-1].item()
    if (step == 0 or (shifts >= step).all()) and count <= most:
        return list(range(count))
    step = max(step, total / (most - 1))
    if total == 0:
        return sorted({0, count - 1})
    places = torch.linspace(0, total, max(2, round(total / step) + 1))
    chosen = {0, count - 1}
    for place in places[1:-1].tolist():
        near = ((travelled - place).abs() <= REACH * step).nonzero()[:, 0]
        if not len(near):
            near = (travelled - place).abs().argmin()[None]
        chosen.add(int(near[sharpness[near].argmax()]))
    return sorted(chosen)


def _laplacian(grey: Tensor) -> Tensor:
    inner = grey[1:-1, 1:-1]
    return grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner


def _blocks(grey: Tensor) -> Tensor:
    """Overlapping windows [B, 2 * BLOCK, 2 * BLOCK] of a small image, with zero mean."""
    windows = pad(grey[None, None], (BLOCK // 2,) * 4, mode="reflect")[0, 0]
    windows = windows.unfold(0, 2 * BLOCK, BLOCK).unfold(1, 2 * BLOCK, BLOCK)
    windows = windows.reshape(-1, 2 * BLOCK, 2 * BLOCK)
    return windows - windows.mean(dim=(1, 2), keepdim=True)


def _shift(one: Tensor, other: Tensor) -> float:
    """Mean shift in pixels between windows, by phase correlation.

    Source: Kuglin and Hines, "The phase correlation image alignment method", 1975.
    """
    fade = torch.hann_window(2 * BLOCK)
    fade = fade[:, None] * fade
    a, b = torch.fft.rfft2(one * fade), torch.fft.rfft2(other * fade)
    cross = a * b.conj()
    peaks = torch.fft.irfft2(cross / cross.abs().clamp(min=1e-9), s=one.shape[1:])
    best = peaks.flatten(1).argmax(dim=1)
    rows, columns = best // (2 * BLOCK), best % (2 * BLOCK)
    # The second half of the spectrum corresponds to negative shifts.
    rows = torch.where(rows > BLOCK, rows - 2 * BLOCK, rows).float()
    columns = torch.where(columns > BLOCK, columns - 2 * BLOCK, columns).float()
    # Windows without texture are uninformative.
    textured = one.square().mean(dim=(1, 2)) > 1e-5
    lengths = torch.hypot(rows, columns)[textured]
    return lengths.mean().item() if len(lengths) else 0.0
