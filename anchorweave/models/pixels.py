"""Validates colours from callers and converts them to [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

Pixels = Image.Image | np.ndarray | Tensor

# Bilinear resizing may exceed [0, 1] by rounding; a wrong value range exceeds it by far more.
PIXEL_TOLERANCE = 1e-4


def read_images(
    image: Pixels | Sequence[Pixels], size: tuple[int, int]
) -> list[Image.Image] | Float[Tensor, "B 3 H W"]:
    """First frames in either form that diffusers accepts.

    The range is determined by the dtype, never by the values, which would misread a dark image.

    Args:
        image: PIL images of any size; or, at the video's size, tensors [3, H, W] or [B, 3, H, W]
            or arrays [H, W, 3] or [B, H, W, 3]: uint8, or floats in [0, 1].
        size: (height, width) of the video.

    Returns:
        B images in RGB as PIL images, or as colours [B, 3, H, W] in [0, 1].

    Raises:
        ValueError: an unsupported type, shape or range.
    """
    several = list(image) if isinstance(image, (list, tuple)) else [image]
    if all(isinstance(picture, Image.Image) for picture in several):
        return [picture.convert("RGB") for picture in several]
    return torch.cat([_colours(picture, size) for picture in several])


def checked_pixels(pixels: Float[Tensor, "..."], what: str) -> Float[Tensor, "..."]:
    """`pixels`, after checking that they are colours in [0, 1]; rounding errors are clamped.

    Raises:
        ValueError: values outside [0, 1] or NaN; the message gives the range.
    """
    if pixels.numel() == 0:
        return pixels
    low, high = pixels.min().item(), pixels.max().item()
    # Written so that NaN fails the test.
    if not (low >= -PIXEL_TOLERANCE and high <= 1 + PIXEL_TOLERANCE):
        raise ValueError(
            f"{what} must hold colours in [0, 1], got values in [{low:g}, {high:g}]; "
            "divide uint8 colours by 255, and convert [-1, 1] with (x + 1) / 2"
        )
    return pixels.clamp(0, 1)


def _colours(image: np.ndarray | Tensor, size: tuple[int, int]) -> Tensor:
    if isinstance(image, np.ndarray):
        image = torch.from_numpy(image).movedim(-1, -3)
    if not isinstance(image, Tensor):
        raise ValueError(
            f"an image is a {type(image).__name__}; give PIL images, or arrays and tensors"
        )
    image = image[None] if image.ndim == 3 else image
    if image.ndim != 4 or image.shape[1:] != (3, *size):
        raise ValueError(
            f"the image has shape {tuple(image.shape)}, but the video's frames are "
            f"3 x {size[0]} x {size[1]}; resize it together with its cameras, or give a PIL image"
        )
    return checked_pixels(image.float() / (255 if image.dtype == torch.uint8 else 1), "the image")
