"""Still images and depth maps on disk (Pillow: Debian's decoders, 16-bit PNG, no torchvision).

Images are rotated according to their EXIF orientation, including their size: everything else about
them (K, depth) refers to the upright image.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image, ImageOps
from PIL.ExifTags import IFD, Base
from torch import Tensor

from anchorweave.eight_bit import to_image
from anchorweave.files import atomic_write

JPEG_SUFFIXES = (".jpg", ".jpeg")
IMAGE_SUFFIXES = (".png", *JPEG_SUFFIXES)
# Kinect-style recordings use the largest uint16 for invalid depth.
SATURATED = 65535
JPEG_QUALITY = 92
# Greyscale modes of more than 8 bits, which Pillow would clip at 255.
DEEP_GREY = ("I;16", "I;16L", "I;16B", "I")


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) of the upright image at `path`."""
    with _readable(path) as image:
        return image.height, image.width


def exif_focal(path: Path) -> float | None:
    """Focal length in pixels of the upright image, from its EXIF data; None if unknown.

    Cameras state it as 35 mm equivalent, or in millimetres with the sensor's resolution. A
    photograph that was cropped afterwards keeps the value of the original.

    Raises:
        ValueError: the file is missing, or not an image.
    """
    with _header(path) as image:
        told = image.getexif().get_ifd(IFD.Exif)
        side = max(image.size)
    try:
        if film := float(told.get(Base.FocalLengthIn35mmFilm) or 0):
            return film / 36 * side
        length = float(told.get(Base.FocalLength) or 0)
        pixels = float(told.get(Base.FocalPlaneXResolution) or 0)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    millimetres = {2: 25.4, 3: 10.0, 4: 1.0}.get(told.get(Base.FocalPlaneResolutionUnit, 2))
    return length * pixels / millimetres if length and pixels and millimetres else None


def about_orientation(path: Path) -> str:
    """A hint for size errors of an image that is stored rotated; "" for any other.

    Tools that ignore the EXIF orientation (such as COLMAP) state sizes and intrinsics for the
    pixels as they are stored.
    """
    if not path.is_file():
        return ""
    with _header(path) as image:
        turned = image.getexif().get(Base.Orientation, 1)
        if turned in (None, 1):
            return ""
        return (
            f". It is stored as {image.height}x{image.width}, and its EXIF orientation {turned} "
            "turns it upright; if K and poses are for the pixels as stored, remove that tag"
        )


def read_frame(path: Path, data: bytes | None = None) -> Float[Tensor, "3 H W"]:
    """The colours [3, H, W] in [0, 1] of the image at `path`, upright.

    Transparent pixels are composited over black, like everything unseen: the colours stored under
    alpha 0 are meaningless. 16-bit grey spans [0, 65535].

    Args:
        path: the image, or its name for messages.
        data: its bytes, if it is in an archive.

    Raises:
        ValueError: the file is missing, truncated or not an image, or has a pixel format without a
            well-defined range.
    """
    with _readable(path, data) as image:
        if image.mode in DEEP_GREY:
            grey = np.array(image).astype(np.float32) / 65535
            if grey.min() < 0 or grey.max() > 1:
                raise ValueError(f"{path}: grey levels leave the 16 bits of 0..65535; rescale them")
            pixels = np.repeat(grey[..., None], 3, axis=-1)
        elif image.mode in ("F", "LAB", "HSV"):
            raise ValueError(
                f"{path}: pixels of Pillow mode {image.mode!r} have no range that all agree on; "
                "store 8-bit colours, or 8- or 16-bit grey"
            )
        else:
            pixels = np.array(image.convert("RGB")).astype(np.float32) / 255
        alpha = _alpha(image)
    if alpha is not None:
        pixels = pixels * alpha[..., None]
    return torch.from_numpy(pixels).permute(2, 0, 1)


def read_opaque(path: Path) -> Bool[Tensor, "H W"] | None:
    """Where the image at `path` is opaque [H, W]; None if it is everywhere.

    Raises:
        ValueError: the file is missing, truncated or not an image.
    """
    with _header(path) as image:
        if not image.has_transparency_data:
            return None
    with _readable(path) as image:
        alpha = _alpha(image)
    return None if alpha is None or (alpha == 1).all() else torch.from_numpy(alpha == 1)


def read_depth(path: Path, unit: float) -> Float[Tensor, "H W"]:
    """The depth [H, W] stored as uint16 at `path`; 0 and 65535 become 0 (invalid).

    Args:
        path: a 16-bit grey PNG.
        unit: length of one step, in the unit of the recording's poses.

    Raises:
        ValueError: the file is missing, truncated, or not a 16-bit image.
    """
    with _readable(path) as image:
        if image.mode not in DEEP_GREY:
            raise ValueError(
                f"{path}: depth must be a 16-bit grey PNG, met Pillow mode {image.mode!r}"
            )
        steps = np.array(image).astype(np.int64)
    steps[steps >= SATURATED] = 0
    return torch.from_numpy(steps).float() * unit


def write_frame(image: Float[Tensor, "3 H W"], path: Path, packed: bool = True) -> None:
    """Write colours [3, H, W] in [0, 1] to `path`, as PNG or JPEG by its suffix.

    Args:
        image: the colours.
        path: the file.
        packed: whether a PNG is compressed; without, it is written several times faster.
    """
    with atomic_write(path) as aside:
        Image.fromarray(to_image(image)).save(
            aside, quality=JPEG_QUALITY, subsampling=0, compress_level=_level(packed)
        )


def write_depth(depth: Float[Tensor, "H W"], unit: float, path: Path, packed: bool = True) -> None:
    """Write depth [H, W] (0 = invalid) to `path` as uint16 steps of `unit`.

    Args:
        depth: see above.
        unit: length of one step.
        path: the file.
        packed: as of `write_frame`.

    Raises:
        ValueError: a depth out of the 16-bit range in this unit, or a negative or NaN one.
    """
    steps = (depth.double() / unit).round()
    if not ((steps >= 0) & (steps < SATURATED)).all():
        raise ValueError(
            f"{path}: depths span [{depth.min():g}, {depth.max():g}], but uint16 steps of {unit:g} "
            f"hold [0, {(SATURATED - 1) * unit:g}]; choose another depth unit"
        )
    with atomic_write(path) as aside:
        image = Image.fromarray(steps.cpu().numpy().astype(np.uint16))
        image.save(aside, compress_level=_level(packed))


def _level(packed: bool) -> int:
    """How hard Pillow compresses: as it does by default, or not at all."""
    return -1 if packed else 0


def read_mask(path: Path) -> Bool[Tensor, "H W"]:
    """A mask [H, W] stored as a grey image: False where it is black.

    In a JPEG, black is not exact: everything below middle grey counts.

    Raises:
        ValueError: the file is missing, truncated or not an image, or has transparency.
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


def _alpha(image: Image.Image) -> np.ndarray | None:
    """Opacity [H, W] in [0, 1]; None for an image that has none."""
    if not image.has_transparency_data:
        return None
    if image.mode in DEEP_GREY:
        # PNG's way to mark one 16-bit grey level as transparent.
        return (np.array(image) != image.info["transparency"]).astype(np.float32)
    return np.array(image.convert("RGBA").getchannel("A")).astype(np.float32) / 255


@contextmanager
def _readable(path: Path, data: bytes | None = None) -> Iterator[Image.Image]:
    """The complete image, decoded and rotated upright."""
    with _header(path, data) as image:
        image.load()
        yield ImageOps.exif_transpose(image)


@contextmanager
def _header(path: Path, data: bytes | None = None) -> Iterator[Image.Image]:
    # Depending on the format and the damage, Pillow raises any of these.
    try:
        with Image.open(path if data is None else io.BytesIO(data)) as image:
            yield image
    except (OSError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: cannot be read as an image ({error})") from error
