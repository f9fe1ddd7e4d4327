"""Still images and depth maps on disk (Pillow: Debian's decoders, 16-bit PNG, no torchvision)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from anchorweave.files import written_aside

JPEG_SUFFIXES = (".jpg", ".jpeg")
IMAGE_SUFFIXES = (".png", *JPEG_SUFFIXES)
# Kinect-style recordings write the largest uint16 where the sensor saw nothing.
SATURATED = 65535
JPEG_QUALITY = 92


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) of the image at `path`, from its header alone."""
    with _readable(path) as image:
        return image.height, image.width


def read_frame(path: Path) -> Float[Tensor, "3 H W"]:
    """The colours [3, H, W] in [0, 1] of the image at `path`.

    Raises:
        ValueError: the file is missing, cut off or no image.
    """
    with _readable(path) as image:
        pixels = np.array(image.convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


def read_depth(path: Path, unit: float) -> Float[Tensor, "H W"]:
    """The depth [H, W] stored as uint16 at `path`; 0 and 65535 come back as 0 (invalid).

    Args:
        path: a 16-bit grey PNG.
        unit: length of one step, in the unit of the recording's poses.

    Raises:
        ValueError: the file is missing, cut off, or no 16-bit image.
    """
    with _readable(path) as image:
        if image.mode not in ("I;16", "I;16B", "I"):
            raise ValueError(
                f"{path}: depth must be a 16-bit grey PNG, met Pillow mode {image.mode!r}"
            )
        steps = np.array(image).astype(np.int64)
    steps[steps >= SATURATED] = 0
    return torch.from_numpy(steps).float() * unit


def write_frame(image: Float[Tensor, "3 H W"], path: Path) -> None:
    """Write colours [3, H, W] in [0, 1] to `path`, as PNG or JPEG by its suffix."""
    pixels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    with written_aside(path) as aside:
        Image.fromarray(pixels).save(aside, quality=JPEG_QUALITY, subsampling=0)


def write_depth(depth: Float[Tensor, "H W"], unit: float, path: Path) -> None:
    """Write depth [H, W] (0 = invalid) to `path` as uint16 steps of `unit`.

    Raises:
        ValueError: a depth that 16 bits cannot hold in this unit, or a negative or NaN one.
    """
    steps = (depth.double() / unit).round()
    if not ((steps >= 0) & (steps < SATURATED)).all():
        raise ValueError(
            f"{path}: depths span [{depth.min():g}, {depth.max():g}], but uint16 steps of {unit:g} "
            f"hold [0, {(SATURATED - 1) * unit:g}]; choose another depth unit"
        )
    with written_aside(path) as aside:
        Image.fromarray(steps.cpu().numpy().astype(np.uint16)).save(aside)


def read_mask(path: Path) -> Bool[Tensor, "H W"]:
    """A mask [H, W] stored as a grey image: False where it is black.

    The black of a JPEG is not quite: there everything below the middle grey counts.

    Raises:
        ValueError: the file is missing, cut off or no image, or has transparency.
    """
    with _readable(path) as image:
        if image.mode not in ("1", "L", "P", "RGB", "I", "I;16", "I;16B"):
            raise ValueError(
                f"{path}: a mask must be a grey image, black where it hides, met Pillow mode "
                f"{image.mode!r}"
            )
        colours = image.convert("RGB") if image.mode == "P" else image
        values = np.array(colours).astype(np.int64)
    if values.ndim == 3:
        values = values.max(axis=2)
    return torch.from_numpy(values >= (128 if path.suffix.lower() in JPEG_SUFFIXES else 1))


@contextmanager
def _readable(path: Path) -> Iterator[Image.Image]:
    # Pillow reports damage as any of these, depending on the format and on where the file ends.
    try:
        with Image.open(path) as image:
            image.load()
            yield image
    except (OSError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: cannot be read as an image ({error})") from error
