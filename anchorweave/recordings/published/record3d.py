"""Record3D: the app's .r3d file, and its unpacked form.

    X.r3d (a zip) or a folder: metadata, rgbd/N.jpg, rgbd/N.depth, rgbd/N.conf
    "EXR + RGB" export:        metadata.json, rgb/N.jpg, depth/N.exr

Poses are camera-to-world with OpenGL axes, in metres; K is column-major. Depth is float32 in
metres, compressed with LZFSE, which needs a package that is not in the requirements; OpenEXR is not
supported. Without a decoder the recording opens without depth, with a warning.
"""

from __future__ import annotations

import json
import re
import warnings
import zipfile
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.geometry.cameras import Cameras, intrinsics, pose_matrix
from anchorweave.images import read_frame
from anchorweave.recordings.base import Recording, posed_cameras
from anchorweave.recordings.config import AS_STATED, RecordingConfig
from anchorweave.recordings.image_files import check_aspect, check_size, depth_in_image
from anchorweave.recordings.listing import Missing, contained, usable
from anchorweave.recordings.nerfstudio import OPENGL

SUFFIX = ".r3d"
# Metadata file and colour folder, in the .r3d and in the export for other programs.
LAYOUTS = (("metadata", "rgbd"), ("metadata.json", "rgb"))
# Modules that decode LZFSE, and the first one's name on PyPI.
DECODERS, PACKAGE = ("liblzfse", "lzfse"), "pyliblzfse"


class Packed:
    """Files by name in a zip or below a folder.

    Args:
        path: the zip or the folder.

    Raises:
        ValueError: a file that is not a zip.
    """

    def __init__(self, path: Path):
        self.path = path
        if path.is_dir():
            entries = (file for file in path.glob("*/*") if not file.name.startswith("."))
            top = (path / name for name, _ in LAYOUTS)
            files = [file for file in (*entries, *top) if file.is_file()]
            self.files = {str(f.relative_to(path)): contained(path, f) for f in files}
            self.names = set(self.files)
            return
        self.files = {}
        try:
            with zipfile.ZipFile(path) as stored:
                self.names = set(stored.namelist())
        except (OSError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{path}: is not an .r3d, which is a zip ({error}); is it complete?"
            ) from error

    def read(self, name: str) -> bytes:
        """The contents of a file.

        Raises:
            ValueError: it is damaged.
        """
        if name in self.files:
            return self.files[name].read_bytes()
        try:
            with zipfile.ZipFile(self.path) as stored:
                return stored.read(name)
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise ValueError(f"{self.path}: {name} cannot be read ({error})") from error


class Record3D(Recording):
    """Frames of a Record3D video.

    Args:
        packed: its files.
        names: T frame numbers.
        cameras: [T].
        colours: folder of the colour images.
        depth_size: (height, width) of the depth maps; None = they are not read.
        decompress: LZFSE decoder.
        min_confidence: 0, 1 or 2; depth of lower confidence is dropped; None = all is kept.
    """

    def __init__(
        self,
        packed: Packed,
        names: Sequence[str],
        cameras: Cameras,
        colours: str,
        depth_size: tuple[int, int] | None,
        decompress: Callable[[bytes], bytes] | None,
        min_confidence: float | None = None,
    ):
        self.path, self.names, self.cameras = packed.path, tuple(names), cameras
        self._packed, self._colours, self._depth_size = packed, colours, depth_size
        self._decompress, self._min_confidence = decompress, min_confidence
        self.has_depth = depth_size is not None and decompress is not None

    def files(self) -> list[Path]:
        """The .r3d, or the files of the folder."""
        return [self._packed.files[n] for n in sorted(self._packed.files)] or [self.path]

    def frame(self, i: int) -> Float[Tensor, "3 H W"]:
        """Colours of frame `i` [3, H, W] in [0, 1]."""
        name = f"{self._colours}/{self.names[i]}.jpg"
        frame = read_frame(self.path / name, self._packed.read(name))
        check_size(self.path / name, tuple(frame.shape[1:]), self.cameras.size)
        return frame

    def depth(self, i: int) -> Float[Tensor, "H W"]:
        """Depth of frame `i` [H, W] in metres, at the size of its image; 0 = invalid."""
        if not self.has_depth:
            return super().depth(i)
        stored = self._map(f"{self._colours}/{self.names[i]}.depth", np.float32)
        depth = np.where(np.isfinite(stored) & (stored > 0), stored, 0)
        if self._min_confidence is not None:
            sure = self._map(f"{self._colours}/{self.names[i]}.conf", np.uint8)
            depth = np.where(sure >= self._min_confidence, depth, 0)
        return depth_in_image(torch.from_numpy(depth), self.cameras[i])

    def _map(self, name: str, kind: type) -> np.ndarray:
        # Decoders come from several packages, whose exceptions are undocumented.
        try:
            stored = np.frombuffer(self._decompress(self._packed.read(name)), dtype=kind)
        except Exception as error:
            raise ValueError(f"{self.path}: {name} cannot be decompressed ({error})") from error
        height, width = self._depth_size
        if len(stored) != height * width:
            raise ValueError(
                f"{self.path}: {name} holds {len(stored)} numbers, expected {height}x{width} "
                "(dh x dw of the metadata)"
            )
        return stored.reshape(height, width)


def is_record3d(folder: Path) -> bool:
    """Whether `folder` is an unpacked .r3d, or Record3D's export of EXR and RGB."""
    return any((folder / name).is_file() and (folder / rgb).is_dir() for name, rgb in LAYOUTS)


def open_record3d(
    path: Path, missing: Missing = "error", options: RecordingConfig = AS_STATED
) -> Record3D:
    """Opens an .r3d file or a folder of its files.

    Raises:
        FileNotFoundError: poses without image or depth, unless `missing` is "skip".
        ValueError: no such file, incomplete metadata, or invalid poses.
    """
    options.refused(path, "depth_scale", why="its depth is in metres")
    packed = Packed(path)
    layout = next((pair for pair in LAYOUTS if pair[0] in packed.names), None)
    if layout is None:
        raise ValueError(f"{path}: holds no metadata, so it is not a Record3D recording")
    meta, colours = _metadata(packed, layout[0]), layout[1]
    poses = torch.tensor(meta["poses"], dtype=torch.float64).reshape(-1, 7)
    listed = [str(i) for i in range(len(poses))]
    depths = any(re.fullmatch(r"rgbd/\d+\.depth", name) for name in packed.names)
    problems = [
        f"no {colours}/{i}.jpg"
        if f"{colours}/{i}.jpg" not in packed.names
        else f"no {colours}/{i}.depth"
        if depths and f"{colours}/{i}.depth" not in packed.names
        else None
        for i in listed
    ]
    usable_frames = usable(path, listed, problems, missing)
    names = [listed[i] for i in usable_frames]
    size = (meta["h"], meta["w"])
    c2w = pose_matrix(poses[usable_frames, :4], poses[usable_frames, 4:]) @ OPENGL
    K = torch.stack([_intrinsics(meta, i, options) for i in usable_frames])
    cameras = posed_cameras(path, names, c2w, K, size)
    decompress = _decoder() if depths else None
    if decompress is None:
        what = f"LZFSE (`pip install {PACKAGE}` reads it)" if depths else "OpenEXR, or missing"
        warnings.warn(
            f"{path}: opened without depth, which is {what}; perception= estimates it", stacklevel=2
        )
        options.refused(path, "min_confidence", why="its depth is not read")
        return Record3D(packed, names, cameras, colours, None, None)
    depth_size = (meta["dh"], meta["dw"])
    check_aspect(path, "depth (dh x dw)", depth_size, size)
    return Record3D(packed, names, cameras, colours, depth_size, decompress, options.min_confidence)


def _metadata(packed: Packed, name: str) -> dict:
    try:
        meta = json.loads(packed.read(name))
        for key in ("w", "h"):
            meta[key] = int(meta[key])
        # Older files do not state the depth size: the LiDAR's, always in portrait orientation.
        meta["dw"], meta["dh"] = int(meta.get("dw", 192)), int(meta.get("dh", 256))
        if not meta["poses"] or {len(pose) for pose in meta["poses"]} != {7}:
            raise ValueError("poses are not lists of 7 numbers, qx qy qz qw x y z")
        if len(meta["K"]) != 9:
            raise ValueError("K is not a list of 9 numbers")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{packed.path}: {name} is not Record3D metadata ({type(error).__name__}: {error})"
        ) from error
    return meta


def _intrinsics(told: dict, i: int, options: RecordingConfig) -> Float[Tensor, "3 3"]:
    if options.intrinsics is not None:
        return intrinsics(*options.intrinsics)
    each = told.get("perFrameIntrinsicCoeffs") or []
    if len(each) == len(told["poses"]):
        return intrinsics(*map(float, each[i]))
    return torch.tensor(told["K"], dtype=torch.float32).reshape(3, 3).T


def _decoder() -> Callable[[bytes], bytes] | None:
    name = next((name for name in DECODERS if find_spec(name)), None)
    return None if name is None else import_module(name).decompress
