"""Predictions: a network's output for a whole video in one .npz, in our layout or the network's.

    depth        [T, h, w]      in the unit of the poses; 0, NaN or infinity = unknown
    c2w          [T, 4, 4]      camera-to-world, OpenCV axes
    K            [T, 3, 3]      or [3, 3], in pixels of the images
    images       [T, H, W, 3]   uint8; or X.mp4, or a folder X/ of images, beside X.npz
    confidence   [T, h, w]      optional: higher is better, in the network's own units
    static       [T, h, w]      optional: False on moving objects

Supports networks that cannot be installed in this environment through their output files. `LAYOUTS`
lists the keys of each, and how ours are computed from them.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anchorweave.eight_bit import to_bytes
from anchorweave.geometry.cameras import Cameras, inverse_rigid
from anchorweave.images import IMAGE_SUFFIXES, read_frame
from anchorweave.recordings.base import Recording, posed_cameras
from anchorweave.recordings.config import AS_STATED, RecordingConfig
from anchorweave.recordings.frame_order import by_number
from anchorweave.recordings.image_files import check_aspect, check_size, depth_in_image
from anchorweave.video import VIDEO_SUFFIXES, read_video

SUFFIX = ".npz"
Arrays = Mapping[str, np.ndarray]


def _w2c(stored: np.ndarray) -> np.ndarray:
    """Camera-to-world [T, 4, 4] from world-to-camera [T, 3 or 4, 4]."""
    w2c = np.tile(np.eye(4), (len(stored), 1, 1))
    w2c[:, :3] = stored[:, :3]
    return inverse_rigid(torch.from_numpy(w2c)).numpy()


def _colours(stored: np.ndarray) -> np.ndarray:
    """Images as uint8 [T, H, W, 3], from floats in [0, 1], channels first or last."""
    if stored.ndim == 4 and stored.shape[1] == 3 and stored.shape[3] != 3:
        stored = stored.transpose(0, 2, 3, 1)
    if stored.dtype.kind == "f":
        stored = (stored.clip(0, 1) * 255).round().astype(np.uint8)
    return stored


def _maps(stored: np.ndarray) -> np.ndarray:
    return stored[..., 0] if stored.ndim == 4 else stored


# Name, identifying keys, and how each of our arrays is computed. The first match is used.
LAYOUTS: tuple[tuple[str, set[str], Mapping[str, Callable[[Arrays], np.ndarray]]], ...] = (
    (
        "this project",
        {"depth", "c2w", "K"},
        {name: (lambda a, name=name: a[name]) for name in ("depth", "c2w", "K")}
        | {
            "images": lambda a: a["images"],
            "confidence": lambda a: a["confidence"],
            "static": lambda a: a["static"],
        },
    ),
    (
        "MegaSaM (NAME_sgd_cvd_hr.npz)",
        {"images", "depths", "intrinsic", "cam_c2w"},
        {
            "depth": lambda a: a["depths"],
            "c2w": lambda a: a["cam_c2w"],
            "K": lambda a: a["intrinsic"],
            "images": lambda a: a["images"],
        },
    ),
    (
        # Its `extrinsic` is camera-to-world, unlike VGGT's of the same name.
        "MapAnything (predictions.npz)",
        {"extrinsic", "intrinsic", "depth", "images", "final_mask"},
        {
            "depth": lambda a: np.where(a["final_mask"], _maps(a["depth"]), 0),
            "c2w": lambda a: a["extrinsic"],
            "K": lambda a: a["intrinsic"],
            "images": lambda a: _colours(a["images"]),
            "confidence": lambda a: a["conf"],
        },
    ),
    (
        "VGGT (predictions.npz)",
        {"extrinsic", "intrinsic", "depth", "images"},
        {
            "depth": lambda a: _maps(a["depth"]),
            "c2w": lambda a: _w2c(a["extrinsic"]),
            "K": lambda a: a["intrinsic"],
            "images": lambda a: _colours(a["images"]),
            "confidence": lambda a: a["depth_conf"],
        },
    ),
    (
        "Depth Anything 3 (results.npz)",
        {"extrinsics", "intrinsics", "depth"},
        {
            "depth": lambda a: _maps(a["depth"]),
            "c2w": lambda a: _w2c(a["extrinsics"]),
            "K": lambda a: a["intrinsics"],
            "images": lambda a: _colours(a["image"]),
            "confidence": lambda a: a["conf"],
        },
    ),
)


class Predictions(Recording):
    """Frames, depth and cameras from arrays held in memory.

    Args:
        path: the .npz.
        cameras: [T].
        images: [T, 3, H, W], colours 0..255.
        depth_maps: [T, h, w], 0 = unknown.
        still: [T, h, w], False on moving things; None = unknown.
    """

    has_depth = True

    def __init__(
        self,
        path: Path,
        cameras: Cameras,
        images: Tensor,
        depth_maps: Float[Tensor, "T h w"],
        still: Bool[Tensor, "T h w"] | None,
    ):
        self.path, self.cameras = path, cameras
        self.names = tuple(f"{i:06d}" for i in range(len(cameras)))
        self._images, self._depth, self._static = images, depth_maps, still

    def files(self) -> list[Path]:
        """The file itself."""
        return [self.path]

    def frame(self, i: int) -> Float[Tensor, "3 H W"]:
        """Colours of frame `i` [3, H, W] in [0, 1]."""
        return self._images[i].float() / 255

    def depth(self, i: int) -> Float[Tensor, "H W"]:
        """Depth of frame `i` [H, W] at the size of its image; 0 = invalid."""
        return depth_in_image(self._depth[i], self.cameras[i])

    def static(self, i: int) -> Bool[Tensor, "H W"] | None:
        """Static pixels of frame `i` [H, W]; None = all, or unknown."""
        if self._static is None:
            return None
        return depth_in_image(self._static[i].float(), self.cameras[i]) > 0


def is_predictions(file: Path) -> bool:
    """Whether `file` is an .npz in any of `LAYOUTS`, judged by its array names."""
    if file.suffix.lower() != SUFFIX or not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as stored:
        keys = {name.removesuffix(".npy") for name in stored.namelist()}
    return any(known_by <= keys for _, known_by, _ in LAYOUTS)


def open_predictions(file: Path, options: RecordingConfig = AS_STATED) -> Predictions:
    """Opens a network's predictions for a video.

    Args:
        file: the .npz, in any of `LAYOUTS`.
        options: `min_confidence` drops depth of lower confidence.

    Raises:
        ValueError: not an .npz, keys of no known layout, mismatched arrays, no images, or invalid
            poses.
    """
    options.refused(file, "depth_scale", "intrinsics", why="predictions state both")
    try:
        with np.load(file, allow_pickle=False) as stored:
            keys = set(stored.files)
            name, make = _layout(file, keys)
            # Optional arrays are None if their key is missing.
            arrays = {key: _made(of, stored) for key, of in make.items()}
    except KeyError as error:
        raise ValueError(f"{file}: looks like {name} but lacks {error}") from error
    except ValueError:
        raise
    # On damaged files numpy may raise anything.
    except Exception as error:
        raise ValueError(f"{file}: cannot be read as an .npz ({error}); is it complete?") from error
    depth = _numbers(file, "depth", arrays["depth"], 3)
    T = len(depth)
    images = _images(file, arrays.get("images"), T)
    size = tuple(images.shape[2:])
    check_aspect(file, "depth", depth.shape[1:], size)
    c2w, K = arrays["c2w"], arrays["K"]
    K = np.tile(K, (T, 1, 1)) if np.ndim(K) == 2 else K
    if np.shape(c2w) != (T, 4, 4) or np.shape(K) != (T, 3, 3):
        raise ValueError(
            f"{file} ({name}): {T} depth maps, but poses {list(np.shape(c2w))} and intrinsics "
            f"{list(np.shape(K))}; expected [{T}, 4, 4] and [{T}, 3, 3]"
        )
    depth = np.where(np.isfinite(depth) & (depth > 0), depth, 0)
    if (surer := options.min_confidence) is not None:
        if arrays.get("confidence") is None:
            raise ValueError(
                f"{file}: recording.min_confidence={surer:g} is set, but the file has no confidence"
            )
        confidence = _numbers(file, "confidence", arrays["confidence"], 3, depth.shape)
        depth = np.where(confidence >= surer, depth, 0)
    static = arrays.get("static")
    if static is not None:
        static = torch.from_numpy(_numbers(file, "static", static, 3, depth.shape) > 0)
    names = [f"{i:06d}" for i in range(T)]
    poses, matrices = (torch.from_numpy(np.asarray(a, dtype=np.float64)) for a in (c2w, K))
    cameras = posed_cameras(file, names, poses, matrices, size)
    return Predictions(file, cameras, images, torch.from_numpy(depth).float(), static)


def _layout(file: Path, keys: set[str]):
    for name, known_by, make in LAYOUTS:
        if known_by <= keys:
            return name, make
    wanted = "; ".join(f"{name}: {', '.join(sorted(by))}" for name, by, _ in LAYOUTS)
    raise ValueError(f"{file}: holds {', '.join(sorted(keys)) or 'nothing'}; known are {wanted}")


def _made(make: Callable[[Arrays], np.ndarray], stored: Arrays) -> np.ndarray | None:
    try:
        return make(stored)
    except KeyError:
        return None


def _numbers(
    file: Path, name: str, stored: np.ndarray | None, axes: int, shape: tuple | None = None
) -> np.ndarray:
    if stored is None or stored.ndim != axes or (shape is not None and stored.shape != shape):
        actual = None if stored is None else list(stored.shape)
        raise ValueError(f"{file}: {name} is {actual}, expected {list(shape or ('T', 'h', 'w'))}")
    return stored.astype(np.float64)


def _images(file: Path, stored: np.ndarray | None, count: int) -> Tensor:
    """Colours [T, 3, H, W], 0..255: from the file, or from a video or folder beside it."""
    beside = file.with_suffix("")
    video = next((v for s in VIDEO_SUFFIXES if (v := file.with_suffix(s)).is_file()), None)
    if stored is not None:
        if stored.ndim != 4 or stored.shape[3] != 3 or stored.dtype != np.uint8:
            raise ValueError(
                f"{file}: images are {stored.dtype} {list(stored.shape)}, expected uint8 "
                "[T, H, W, 3]"
            )
        images = torch.from_numpy(stored).permute(0, 3, 1, 2)
    elif video is not None:
        images = read_video(video)
    elif beside.is_dir():
        files = [f for f in sorted(beside.iterdir()) if f.suffix.lower() in IMAGE_SUFFIXES]
        frames = [read_frame(files[i]) for i in by_number([f.name for f in files])]
        for path, frame in zip(files, frames, strict=True):
            check_size(path, tuple(frame.shape[1:]), tuple(frames[0].shape[1:]))
        images = to_bytes(torch.stack(frames)) if frames else torch.zeros(0, 3, 1, 1)
    else:
        raise ValueError(
            f"{file}: holds no images, and there is neither {beside.name}.mp4 nor a folder "
            f"{beside.name}/ of images beside it"
        )
    if len(images) != count:
        raise ValueError(f"{file}: {count} depth maps, but {len(images)} images; one of each")
    return images
