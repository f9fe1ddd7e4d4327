"""Exports of phone scanners: Polycam's raw data, and Stray Scanner.

    keyframes/cameras/N.json (or corrected_cameras/)  images/N.jpg (corrected_images/)  depth/N.png
    rgb.mp4  odometry.csv  camera_matrix.csv  depth/NNNNNN.png

Depth is in millimetres and poses in metres, both from ARKit. Polycam's cameras have OpenGL axes,
Stray Scanner's OpenCV axes.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.geometry.cameras import intrinsics, pose_matrix
from anchorweave.images import IMAGE_SUFFIXES, image_size
from anchorweave.recordings.base import posed_cameras
from anchorweave.recordings.config import AS_STATED, RecordingConfig
from anchorweave.recordings.depth_files import read_depth_file
from anchorweave.recordings.frame_order import by_number
from anchorweave.recordings.image_files import ImageFiles, check_aspect, depth_in_image
from anchorweave.recordings.listing import Missing, contained, one_file_each, usable
from anchorweave.recordings.nerfstudio import OPENGL
from anchorweave.recordings.reading import text_of
from anchorweave.recordings.realestate10k import VideoFrames
from anchorweave.video import VideoFile

MILLIMETRES = 1e-3
ODOMETRY = ("frame", "x", "y", "z", "qx", "qy", "qz", "qw")


def is_polycam(folder: Path) -> bool:
    """Whether `folder` is Polycam's raw export."""
    return any((folder / "keyframes" / "cameras").glob("*.json"))


def open_polycam(
    folder: Path, missing: Missing = "error", options: RecordingConfig = AS_STATED
) -> ImageFiles:
    """Opens a Polycam raw export; uses its optimised cameras if available.

    Raises:
        FileNotFoundError: cameras without image or depth, unless `missing` is "skip".
        ValueError: unexpected file contents, or invalid poses.
    """
    keyframes = folder / "keyframes"
    corrected = (keyframes / "corrected_cameras").is_dir()
    prefix = "corrected_" if corrected else ""
    parts = {f"{prefix}cameras": (".json",), f"{prefix}images": IMAGE_SUFFIXES, "depth": (".png",)}
    files = [
        one_file_each(folder, (keyframes / part).glob("*"), suffixes, lambda file: file.stem)
        for part, suffixes in parts.items()
    ]
    if not files[2]:
        del files[2]
        options.refused(folder, "depth_scale", why="it holds no depth")
    stems = sorted(files[0])
    stems = [stems[i] for i in by_number(stems)]
    problems = [
        next((f"no {p}" for p, found in zip(parts, files, strict=False) if s not in found), None)
        for s in stems
    ]
    names = [stems[i] for i in usable(keyframes, stems, problems, missing)]
    poses, matrices = zip(*(_polycam_camera(files[0][name]) for name in names), strict=True)
    images = [files[1][name] for name in names]
    if options.intrinsics is not None:
        matrices = [intrinsics(*options.intrinsics)] * len(names)
    cameras = posed_cameras(
        keyframes, names, torch.stack(poses), torch.stack(matrices), image_size(images[0])
    )
    depths = [files[2][name] for name in names] if len(files) == 3 else []
    return ImageFiles(folder, names, cameras, images, depths, options.depth_unit(MILLIMETRES))


def _polycam_camera(file: Path) -> tuple[Float[Tensor, "4 4"], Float[Tensor, "3 3"]]:
    try:
        meta = json.loads(text_of(file))
        rows = [[float(meta[f"t_{row}{column}"]) for column in range(4)] for row in range(3)]
        K = intrinsics(*(float(meta[key]) for key in ("fx", "fy", "cx", "cy")))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{file}: is not a Polycam camera ({type(error).__name__}: {error})"
        ) from error
    return torch.tensor([*rows, [0, 0, 0, 1]], dtype=torch.float64) @ OPENGL, K


class StrayFrames(VideoFrames):
    """Frames of Stray Scanner's video, with depth maps beside it.

    Args:
        depths: T depth maps.
        unit: length of one depth step, in metres.
        **video: the arguments of `VideoFrames`.
    """

    has_depth = True

    def __init__(self, depths: list[Path], unit: float, **video):
        super().__init__(**video)
        self.depths, self.unit = depths, unit

    def files(self) -> list[Path]:
        """The video and the depth maps."""
        return [self.video.path, *self.depths]

    def depth(self, i: int) -> Float[Tensor, "H W"]:
        """Depth of frame `i` [H, W] at the size of the video; 0 = invalid."""
        depth = read_depth_file(self.depths[i], self.unit)
        check_aspect(self.depths[i], "depth map", tuple(depth.shape), self.cameras.size)
        return depth_in_image(depth, self.cameras[i])


def is_stray_scanner(folder: Path) -> bool:
    """Whether `folder` was written by Stray Scanner."""
    return (folder / "odometry.csv").is_file() and (folder / "rgb.mp4").is_file()


def open_stray_scanner(
    folder: Path, missing: Missing = "error", options: RecordingConfig = AS_STATED
) -> StrayFrames:
    """Opens a Stray Scanner recording.

    Raises:
        FileNotFoundError: frames without depth, unless `missing` is "skip".
        ValueError: unexpected file contents, or invalid poses.
    """
    video = VideoFile(contained(folder, folder / "rgb.mp4"))
    table = _odometry(folder / "odometry.csv")
    frames = [int(frame) for frame in table["frame"]]
    depths = [folder / "depth" / f"{frame:06d}.png" for frame in frames]
    problems = [
        f"no frame {frame} in rgb.mp4"
        if not 0 <= frame < len(video)
        else None
        if depth.is_file()
        else f"no depth/{depth.name}"
        for frame, depth in zip(frames, depths, strict=True)
    ]
    names = [f"{frame:06d}" for frame in frames]
    usable_frames = usable(folder, names, problems, missing)
    turns, centres = (
        torch.tensor([[table[key][i] for key in keys] for i in usable_frames], dtype=torch.float64)
        for keys in (("qx", "qy", "qz", "qw"), ("x", "y", "z"))
    )
    c2w = pose_matrix(turns, centres)
    if options.intrinsics is not None:
        K = intrinsics(*options.intrinsics)
    else:
        K = torch.from_numpy(_matrix(folder / "camera_matrix.csv"))
    names = [names[i] for i in usable_frames]
    return StrayFrames(
        depths=[contained(folder, depths[i]) for i in usable_frames],
        unit=options.depth_unit(MILLIMETRES),
        path=folder,
        names=names,
        cameras=posed_cameras(folder, names, c2w, K.repeat(len(usable_frames), 1, 1), video.size),
        video=video,
        positions=[frames[i] for i in usable_frames],
    )


def _odometry(file: Path) -> dict[str, list[float]]:
    lines = [line for line in text_of(file).splitlines() if line.strip()]
    keys = [word.strip() for word in lines[0].split(",")] if lines else []
    try:
        rows = [[float(word) for word in line.split(",")] for line in lines[1:]]
        table = dict(zip(keys, map(list, zip(*rows, strict=True)), strict=False))
        return {key: table[key] for key in ODOMETRY}
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{file}: is not a table of {', '.join(ODOMETRY)} ({type(error).__name__}: {error})"
        ) from error


def _matrix(file: Path) -> np.ndarray:
    try:
        return np.loadtxt(file, delimiter=",").reshape(3, 3)
    except (OSError, ValueError) as error:
        raise ValueError(f"{file}: is not a 3x3 matrix ({error})") from error
