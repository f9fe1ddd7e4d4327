"""COLMAP projects: a model in sparse/0, images beside it, and optional masks.

    project/
      sparse/0/                  cameras, images, points3D (.bin or .txt)
      images/                    or images_2/, images_4/ ... if images/ does not exist
      masks/NAME.png             optional, for all images or none: black on moving objects

Used by Gaussian splatting and MipNeRF 360 scenes, `colmap image_undistorter`, and exports of VGGT,
DA3 and MapAnything. Lens distortion is removed on reading.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.geometry.cameras import intrinsics, inverse_rigid
from anchorweave.recordings.base import posed_cameras
from anchorweave.recordings.colmap_model import (
    ModelCamera,
    ModelImage,
    model_suffix,
    read_model,
    read_points,
)
from anchorweave.recordings.config import AS_STATED, RecordingConfig
from anchorweave.recordings.frame_order import by_number
from anchorweave.recordings.listed_images import IMAGES, ListedImage, listed_images, sizes_of_K
from anchorweave.recordings.listing import Missing, contained, usable
from anchorweave.recordings.nerfstudio import NerfstudioFiles
from anchorweave.recordings.undistort import Fisheye, Lens

MODEL_FOLDERS = ("sparse/0", "sparse", "colmap/sparse/0", "colmap/sparse", "dense/sparse", ".")
MASKS = "masks"
# Positions of a model's parameters: fx, fy, cx, cy, then those of coefficients by name.
PINHOLES = {
    "SIMPLE_PINHOLE": (0, 0, 1, 2),
    "SIMPLE_RADIAL": (0, 0, 1, 2),
    "RADIAL": (0, 0, 1, 2),
    "SIMPLE_RADIAL_FISHEYE": (0, 0, 1, 2),
    "RADIAL_FISHEYE": (0, 0, 1, 2),
    "PINHOLE": (0, 1, 2, 3),
    "OPENCV": (0, 1, 2, 3),
    "FULL_OPENCV": (0, 1, 2, 3),
    "OPENCV_FISHEYE": (0, 1, 2, 3),
}
COEFFICIENTS = {
    "SIMPLE_RADIAL": {"k1": 3},
    "RADIAL": {"k1": 3, "k2": 4},
    "OPENCV": {"k1": 4, "k2": 5, "p1": 6, "p2": 7},
    "FULL_OPENCV": {"k1": 4, "k2": 5, "p1": 6, "p2": 7, "k3": 8},
    "SIMPLE_RADIAL_FISHEYE": {"k1": 3},
    "RADIAL_FISHEYE": {"k1": 3, "k2": 4},
    "OPENCV_FISHEYE": {"k1": 4, "k2": 5, "k3": 6, "k4": 7},
}


class ColmapFiles(NerfstudioFiles):
    """Image files of a COLMAP project, with the sparse points visible in each.

    Args:
        model: the folder that contains the points.
        seen: for each frame, the ids of its points.
        **files: the other arguments of `NerfstudioFiles`.
    """

    def __init__(self, model: Path, seen: list[np.ndarray], **files):
        super().__init__(**files)
        self._model, self._seen = model, seen
        self._points: dict[int, np.ndarray] | None = None

    def sparse_points(self, i: int) -> Float[Tensor, "P 3"] | None:
        """Positions [P, 3] of sparse points visible in frame `i`; None if the model has none."""
        if self._points is None:
            self._points = read_points(self._model)
        if not self._points:
            return None
        visible = [self._points[n] for n in self._seen[i].tolist() if n in self._points]
        points = torch.from_numpy(np.array(visible, dtype=np.float64).reshape(-1, 3))
        return (points - points.new_tensor(self.cameras.origin)).float()


def is_colmap(folder: Path) -> bool:
    """Whether `folder` is a COLMAP model, or contains one in the usual place."""
    return _model(folder) is not None


def open_colmap(
    folder: Path, missing: Missing = "error", options: RecordingConfig = AS_STATED
) -> ColmapFiles:
    """Opens a COLMAP project.

    Args:
        folder: the project, or a folder with the model's files and images.
        missing: how to treat images of the model whose files do not exist.
        options: values that override what the model states.

    Raises:
        FileNotFoundError: no images, or listed images that do not exist, unless `missing` is
            "skip".
        ValueError: a damaged model, one without images, an unknown lens model, images of several
            sizes, or a path outside the folder.
    """
    options.refused(folder, "depth_scale", why="a COLMAP project holds no depth")
    model = _model(folder)
    cameras, placed = read_model(model)
    if not placed:
        raise ValueError(f"{model}: no image is registered; memory needs poses")
    _tell_of_others(model, len(placed))
    if options.order != "listed":
        placed = [placed[i] for i in by_number([image.name for image in placed])]
    # Paths are relative to the listing's folder; COLMAP's are relative to its image folder.
    listing = _image_root(folder, model) / "sparse"
    images = listed_images(listing, [f"{IMAGES}/{image.name}" for image in placed])
    masks = _masks(listing.parent, images)
    problems = [
        "the image does not exist"
        if not image.file.is_file()
        else "no mask, although others have one"
        if masks and mask is None
        else None
        for image, mask in zip(images, masks or [None] * len(images), strict=True)
    ]
    frames = usable(model, [image.name for image in placed], problems, missing)
    placed, images = [placed[i] for i in frames], [images[i] for i in frames]
    used = [cameras[image.camera] for image in placed]
    entries = [{"w": camera.size[1], "h": camera.size[0]} for camera in used]
    size, of_K = sizes_of_K(listing, images, entries)
    names = [image.name for image in placed]
    if options.intrinsics is None:
        K = torch.stack([_K(model, c, of, size) for c, of in zip(used, of_K, strict=True)])
    else:
        K = intrinsics(*options.intrinsics).repeat(len(names), 1, 1)
    w2c = torch.stack([_w2c(image) for image in placed])
    return ColmapFiles(
        model=model,
        seen=[image.points for image in placed],
        native=posed_cameras(model, names, inverse_rigid(w2c), K, size),
        lenses=[_lens(model, camera) for camera in used],
        path=folder,
        names=names,
        images=[image.file for image in images],
        masks=[masks[i] for i in frames] if masks else [],
    )


def _model(folder: Path) -> Path | None:
    return next((folder / n for n in MODEL_FOLDERS if model_suffix(folder / n)), None)


def _tell_of_others(model: Path, placed: int) -> None:
    """Warns if a reconstruction has several models, of which this is the first."""
    if model.name != "0":
        return
    others = [
        other for other in sorted(model.parent.iterdir()) if other != model and model_suffix(other)
    ]
    if others:
        warnings.warn(
            f"{model.parent}: holds {len(others) + 1} disconnected models; using the "
            f"{placed} images of {model.name}/ (others: "
            f"{', '.join(other.name for other in others)})",
            stacklevel=3,
        )


def _image_root(folder: Path, model: Path) -> Path:
    """The folder that contains images/ or a smaller copy; the model's parents come first."""
    above = [model, *model.parents]
    candidates = [
        candidate for candidate in above if candidate == folder or folder in candidate.parents
    ]
    for candidate in candidates:
        if (candidate / IMAGES).is_dir() or any(candidate.glob(f"{IMAGES}_*")):
            return candidate
    raise FileNotFoundError(
        f"{folder}: is a COLMAP model (in {model}) without its images; looked for {IMAGES}/ and "
        f"{IMAGES}_2/ ... in {', '.join(map(str, candidates))}. Give the folder that holds both"
    )


def _masks(root: Path, images: list[ListedImage]) -> list[Path | None]:
    """masks/NAME.png (COLMAP's convention, NAME with its suffix) or masks/STEM.png; [] if none."""
    if not (root / MASKS).is_dir():
        return []
    masks: list[Path | None] = []
    for image in images:
        name = image.name.partition("/")[2]
        candidates = (Path(f"{root / MASKS / name}.png"), (root / MASKS / name).with_suffix(".png"))
        mask = next((candidate for candidate in candidates if candidate.is_file()), None)
        masks.append(None if mask is None else contained(root, mask))
    return masks


def _K(model: Path, camera: ModelCamera, of: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """K for an image of `size`, from parameters for an image of size `of`."""
    if camera.model not in PINHOLES:
        raise ValueError(
            f"{model}: camera model {camera.model} is not supported; undistort the project with "
            "`colmap image_undistorter`"
        )
    fx, fy, cx, cy = (camera.params[at] for at in PINHOLES[camera.model])
    x, y = size[1] / of[1], size[0] / of[0]
    return intrinsics(x * fx, y * fy, x * cx, y * cy)


def _lens(model: Path, camera: ModelCamera) -> Lens:
    if camera.model == "FULL_OPENCV" and any(camera.params[9:]):
        raise ValueError(
            f"{model}: a FULL_OPENCV lens with k4 to k6 is not supported; undistort the project by "
            "`colmap image_undistorter`"
        )
    named = COEFFICIENTS.get(camera.model, {})
    coefficients = {name: camera.params[at] for name, at in named.items()}
    return (Fisheye if "FISHEYE" in camera.model else Lens)(**coefficients)


def _w2c(image: ModelImage) -> Float[Tensor, "4 4"]:
    q = torch.tensor(image.quaternion, dtype=torch.float64)
    if not q.norm() > 0:
        raise ValueError(
            f"image {image.name}: its quaternion {list(image.quaternion)} is not a rotation"
        )
    w, x, y, z = (q / q.norm()).tolist()
    w2c = torch.eye(4, dtype=torch.float64)
    w2c[:3, :3] = torch.tensor(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ],
        dtype=torch.float64,
    )
    w2c[:3, 3] = torch.tensor(image.translation, dtype=torch.float64)
    return w2c
