"""A COLMAP model on disk, text or binary: cameras, poses, and the sparse points seen by images.

Read without COLMAP, whose text and binary formats are documented and stable; newer releases also
write rigs and frames, which repeat what `images` says.

Source: https://colmap.github.io/format.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from anchorweave.recordings.reading import text_of

SUFFIXES = ("bin", "txt")
# Model id in binary files, name, number of parameters.
MODELS = (
    (0, "SIMPLE_PINHOLE", 3),
    (1, "PINHOLE", 4),
    (2, "SIMPLE_RADIAL", 4),
    (3, "RADIAL", 5),
    (4, "OPENCV", 8),
    (5, "OPENCV_FISHEYE", 8),
    (6, "FULL_OPENCV", 12),
    (7, "FOV", 5),
    (8, "SIMPLE_RADIAL_FISHEYE", 4),
    (9, "RADIAL_FISHEYE", 5),
    (10, "THIN_PRISM_FISHEYE", 12),
    (11, "RAD_TAN_THIN_PRISM_FISHEYE", 16),
)
NO_POINT = -1


@dataclass(frozen=True)
class ModelCamera:
    """A camera: the name of its model, its parameters in COLMAP's order, and its image size."""

    model: str
    params: tuple[float, ...]
    size: tuple[int, int]


@dataclass(frozen=True)
class ModelImage:
    """A registered image.

    Args:
        name: path below the image folder.
        camera: id of its camera.
        quaternion: w x y z of world-to-camera.
        translation: of world-to-camera.
        points: ids of the sparse points it sees.
    """

    name: str
    camera: int
    quaternion: tuple[float, ...]
    translation: tuple[float, ...]
    points: Int[np.ndarray, " P"]


def model_suffix(folder: Path) -> str | None:
    """`bin` or `txt`, whichever model `folder` contains; None if there is none."""
    for suffix in SUFFIXES:
        if all((folder / f"{part}.{suffix}").is_file() for part in ("cameras", "images")):
            return suffix
    return None


def read_model(folder: Path) -> tuple[dict[int, ModelCamera], list[ModelImage]]:
    """Cameras by id, and images in file order.

    Raises:
        ValueError: a truncated file, or content that violates the format.
    """
    read_cameras, read_images, _ = _READERS[model_suffix(folder)]
    suffix = model_suffix(folder)
    with _parsing(folder / f"cameras.{suffix}") as file:
        cameras = dict(read_cameras(file))
    with _parsing(folder / f"images.{suffix}") as file:
        images = list(read_images(file))
    if unknown := [image.name for image in images if image.camera not in cameras]:
        raise ValueError(f"{folder}: cameras.{suffix} lacks the camera of image {unknown[0]}")
    return cameras, images


def read_points(folder: Path) -> dict[int, Float[np.ndarray, "3"]]:
    """Positions of the sparse points by id; empty if the model has no points.

    Raises:
        ValueError: a truncated file, or content that violates the format.
    """
    suffix = model_suffix(folder)
    file = folder / f"points3D.{suffix}"
    if not file.is_file():
        return {}
    with _parsing(file):
        return dict(_READERS[suffix][2](file))


class _parsing:  # noqa: N801 - used as a function
    """Turns any exception from parsing a damaged file into one error that names the file."""

    def __init__(self, file: Path):
        self.file = file

    def __enter__(self) -> Path:
        return self.file

    def __exit__(self, kind, error, _):
        if isinstance(error, (struct.error, IndexError, KeyError, UnicodeDecodeError)) or (
            isinstance(error, ValueError) and str(self.file) not in str(error)
        ):
            raise ValueError(
                f"{self.file}: is not a complete COLMAP file ({type(error).__name__}: {error}); "
                "write the model again, for instance with `colmap model_converter`"
            ) from error


def _lines(file: Path) -> Iterator[str]:
    return (line for line in text_of(file).splitlines() if not line.startswith("#"))


def _text_cameras(file: Path) -> Iterator[tuple[int, ModelCamera]]:
    counts = {name: count for _, name, count in MODELS}
    for line in _lines(file):
        if not (words := line.split()):
            continue
        number, model, width, height, *params = words
        if model in counts and len(params) != counts[model]:
            raise ValueError(f"camera {number}: {model} has {counts[model]} parameters")
        size = (int(height), int(width))
        yield int(number), ModelCamera(model, tuple(map(float, params)), size)


def _text_images(file: Path) -> Iterator[ModelImage]:
    lines = _lines(file)
    for line in lines:
        # An image without points has an empty second line.
        if not (words := line.split(maxsplit=9)):
            continue
        pose, name = [float(word) for word in words[1:8]], words[9].strip()
        numbers = next(lines, "").split()[2::3]
        yield _image(name, int(words[8]), pose, np.array(numbers, dtype=np.int64))


def _text_points(file: Path) -> Iterator[tuple[int, np.ndarray]]:
    for line in _lines(file):
        if words := line.split(maxsplit=4):
            yield int(words[0]), np.array(words[1:4], dtype=np.float64)


def _binary_cameras(file: Path) -> Iterator[tuple[int, ModelCamera]]:
    models = {number: (name, count) for number, name, count in MODELS}
    stored, at = file.read_bytes(), 8
    for _ in range(struct.unpack_from("<Q", stored)[0]):
        number, kind, width, height = struct.unpack_from("<iiQQ", stored, at)
        if kind not in models:
            raise ValueError(
                f"{file}: camera {number} has model {kind}, which is not supported; undistort the "
                "project with `colmap image_undistorter`"
            )
        name, count = models[kind]
        params = struct.unpack_from(f"<{count}d", stored, at + 24)
        at += 24 + 8 * count
        yield number, ModelCamera(name, params, (height, width))


def _binary_images(file: Path) -> Iterator[ModelImage]:
    stored, at = file.read_bytes(), 8
    observation = np.dtype([("xy", "<f8", 2), ("point", "<i8")])
    for _ in range(struct.unpack_from("<Q", stored)[0]):
        _, *pose, camera = struct.unpack_from("<I7dI", stored, at)
        end = stored.index(b"\0", at + 64)
        name = stored[at + 64 : end].decode()
        (count,) = struct.unpack_from("<Q", stored, end + 1)
        at = end + 9 + count * observation.itemsize
        if at > len(stored):
            raise ValueError("it is truncated")
        seen = np.frombuffer(stored, observation, count, end + 9)["point"]
        yield _image(name, camera, pose, seen)


def _binary_points(file: Path) -> Iterator[tuple[int, np.ndarray]]:
    stored, at = file.read_bytes(), 8
    for _ in range(struct.unpack_from("<Q", stored)[0]):
        number, x, y, z, _, _, _, _, track = struct.unpack_from("<Q3d3BdQ", stored, at)
        at += 51 + 8 * track
        yield number, np.array([x, y, z])


def _image(name: str, camera: int, pose: list[float], points: np.ndarray) -> ModelImage:
    seen = points[points != NO_POINT].astype(np.int64)
    return ModelImage(name, camera, tuple(pose[:4]), tuple(pose[4:]), seen)


_READERS = {
    "bin": (_binary_cameras, _binary_images, _binary_points),
    "txt": (_text_cameras, _text_images, _text_points),
}
