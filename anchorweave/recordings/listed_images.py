"""Which image files a transforms.json refers to, their size, and the size its K is for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from anchorweave.images import IMAGE_SUFFIXES, image_size
from anchorweave.recordings.image_files import check_size
from anchorweave.recordings.listing import inside
from anchorweave.recordings.transforms_json import finite_number

IMAGES = "images"


@dataclass(frozen=True)
class ListedImage:
    """The image of one frame.

    Args:
        name: its path as listed.
        file: the file to read.
        shrink: N if a copy in images_N/, N times smaller, replaces one in images/.
    """

    name: str
    file: Path
    shrink: int = 1


def listed_images(listing: Path, names: Sequence[str]) -> list[ListedImage]:
    """The image of each frame: the listed file, or a smaller copy if none of the listed ones exist.

    DL3DV and others ship images_2/, images_4/ ... without images/, to which the json refers. The
    largest available copy is used. A path that itself names images_N/ is taken literally.

    Raises:
        ValueError: a path outside the recording's folder.
    """
    named = [ListedImage(name, inside(listing, name, IMAGE_SUFFIXES)) for name in names]
    if any(image.file.is_file() for image in named):
        return named
    folders = [path.name.removeprefix(f"{IMAGES}_") for path in listing.parent.glob(f"{IMAGES}_*")]
    shrinks = sorted(int(name) for name in folders if name.isdecimal() and int(name) > 1)
    return [_copy(listing, image, shrinks) for image in named]


def sizes_of_K(
    listing: Path, images: Sequence[ListedImage], entries: Sequence[dict]
) -> tuple[tuple[int, int], list[tuple[int, int]]]:
    """The (height, width) of the image files, and for each frame the size that its K is for.

    What entries state is compared with the file of the first frame that states it; the others are
    checked when they are read.

    Args:
        listing: the json, for messages.
        images: images of T frames; the files exist.
        entries: the json entry of each frame, including common keys.

    Raises:
        ValueError: an image whose size differs from the stated one, or images of several sizes.
    """
    sizes: dict[tuple, tuple[int, int]] = {}
    of_K, first_of = [], {}
    for image, entry in zip(images, entries, strict=True):
        where = f"{listing}, frame {image.name}"
        stated = [int(finite_number(where, entry, key)) if key in entry else None for key in "hw"]
        kind = (*stated, image.shrink)
        if None in stated or kind not in sizes:
            sizes[kind] = image_size(image.file)
            first_of.setdefault(sizes[kind], image)
        height, width = sizes[kind]
        default = (height * image.shrink, width * image.shrink)
        size = tuple(d if s is None else s for s, d in zip(stated, default, strict=True))
        _check(image, (height, width), size)
        of_K.append(size)
    if len(first_of) > 1:
        described = ", ".join(
            f"{image.name} is {height}x{width}" for (height, width), image in first_of.items()
        )
        raise ValueError(
            f"{listing}: images have several sizes ({described}, height x width), but a recording "
            "has one; resize them together with their intrinsics, or write one json per size"
        )
    return next(iter(first_of)), of_K


def _copy(listing: Path, image: ListedImage, shrinks: Sequence[int]) -> ListedImage:
    parts = PurePosixPath(image.name.replace("\\", "/")).parts
    if parts[0] == IMAGES:
        for shrink in shrinks:
            path = f"{IMAGES}_{shrink}/{'/'.join(parts[1:])}"
            if (file := inside(listing, path, IMAGE_SUFFIXES)).is_file():
                return ListedImage(image.name, file, shrink)
    return image


def _check(image: ListedImage, met: tuple[int, int], stated: tuple[int, int]) -> None:
    if image.shrink == 1:
        check_size(image.file, met, stated)
        return
    # Sides that do not divide evenly may have been rounded up, down or to nearest.
    if any(abs(m * image.shrink - s) >= image.shrink for m, s in zip(met, stated, strict=True)):
        small = " or ".join(
            sorted({f"{h}x{w}" for h, w in (_divided(stated, image.shrink, up) for up in (0, 1))})
        )
        raise ValueError(
            f"{image.file}: is {met[0]}x{met[1]} (height x width), but images of "
            f"{stated[0]}x{stated[1]} are {small} in {image.file.parent.name}/; resize the images, "
            "or list them in file_path, with their own w and h"
        )


def _divided(size: tuple[int, int], by: int, up: int) -> tuple[int, int]:
    return tuple((side + up * (by - 1)) // by for side in size)
