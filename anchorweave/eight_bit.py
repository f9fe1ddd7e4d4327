"""Colours in [0, 1] as 8-bit pixels: clipped, scaled and rounded in one place."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float, Num, UInt8
from numba import njit
from torch import Tensor


def to_bytes(colours: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """Values in [0, 1] as 0..255; what is outside is clipped."""
    return colours.clamp(0, 1).mul_(255).round_().to(torch.uint8)


def to_image(frame: Num[Tensor, "3 H W"]) -> UInt8[np.ndarray, "H W 3"]:
    """A frame as image and video writers take it, on the CPU.

    Args:
        frame: colours in [0, 1], or bytes.
    """
    if frame.dtype == torch.float32 and frame.device.type == "cpu":
        # Seven times as fast as one torch operation after the other, with the same bytes.
        pixels = np.empty((*frame.shape[1:], 3), np.uint8)
        _interleave(*frame.detach().numpy(), pixels)
        return pixels
    frame = to_bytes(frame) if frame.is_floating_point() else frame
    return frame.permute(1, 2, 0).contiguous().cpu().numpy()


@njit(nogil=True, cache=True, error_model="numpy")
@no_type_check
def _interleave(red, green, blue, pixels):
    zero, one, scale = np.float32(0), np.float32(1), np.float32(255)
    for i in range(red.shape[0]):
        row = pixels[i]
        for j in range(red.shape[1]):
            row[j, 0] = np.uint8(np.rint(min(max(red[i, j], zero), one) * scale))
            row[j, 1] = np.uint8(np.rint(min(max(green[i, j], zero), one) * scale))
            row[j, 2] = np.uint8(np.rint(min(max(blue[i, j], zero), one) * scale))
