"""ARKitScenes: the raw and the 3D detection (3dod) layout, as in Apple's DATA.md.

    ID/ or ID/ID_frames/:  lowres_wide/ID_TIME.png  lowres_wide_intrinsics/ID_TIME.pincam
                           lowres_depth/ID_TIME.png  lowres_wide.traj

Poses come at 10 Hz, images at up to 60 Hz: each pose uses the image nearest in time. A line of the
.traj is time, world-to-camera rotation (axis times angle) and translation, in metres, with OpenCV
axes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.geometry.cameras import intrinsics, inverse_rigid
from anchorweave.images import image_size
from anchorweave.recordings.base import posed_cameras
from anchorweave.recordings.config import AS_STATED, RecordingConfig
from anchorweave.recordings.image_files import ImageFiles
from anchorweave.recordings.listing import Missing, one_file_each, usable
from anchorweave.recordings.reading import text_of

TRAJECTORY, COLOURS, DEPTH = "lowres_wide.traj", "lowres_wide", "lowres_depth"
CAMERAS = "lowres_wide_intrinsics"
MILLIMETRES = 1e-3
# Half a frame at 60 Hz, plus some slack for rounding.
TOLERANCE = 0.01


def is_arkitscenes(folder: Path) -> bool:
    """Whether `folder` holds a video of ARKitScenes."""
    return _inner(folder) is not None


def _inner(folder: Path) -> Path | None:
    candidates = (folder, folder / f"{folder.name}_frames")
    return next((f for f in candidates if (f / TRAJECTORY).is_file()), None)


def open_arkitscenes(
    folder: Path, missing: Missing = "error", options: RecordingConfig = AS_STATED
) -> ImageFiles:
    """Opens the recording of one video id.

    Raises:
        FileNotFoundError: poses without a matching image, intrinsics or depth, unless `missing` is
            "skip".
        ValueError: unexpected file contents, or invalid poses.
    """
    inner = _inner(folder)
    times, w2c = _trajectory(inner / TRAJECTORY)
    images = _by_time(inner, COLOURS, ".png")
    pincams = _by_time(inner, CAMERAS, ".pincam")
    depths = _by_time(inner, DEPTH, ".png")
    if not depths:
        options.refused(folder, "depth_scale", why="it holds no depth")
    matches = [[_nearest(files, time) for files in (images, pincams, depths)] for time in times]
    names = [f"{time:.3f}" for time in times]
    problems = [
        next(
            (
                f"no file with its time in {part}/"
                for part, file in zip((COLOURS, CAMERAS, DEPTH), files, strict=True)
                if file is None and not (part == DEPTH and not depths)
            ),
            None,
        )
        for files in matches
    ]
    usable_frames = usable(inner, names, problems, missing)
    names, files = [names[i] for i in usable_frames], [matches[i] for i in usable_frames]
    if options.intrinsics is not None:
        K = intrinsics(*options.intrinsics).repeat(len(usable_frames), 1, 1)
    else:
        K = torch.stack([_pincam(pincam) for _, pincam, _ in files])
    size = image_size(files[0][0])
    cameras = posed_cameras(inner, names, inverse_rigid(w2c[usable_frames]), K, size)
    return ImageFiles(
        folder,
        names,
        cameras,
        [image for image, _, _ in files],
        [depth for _, _, depth in files] if depths else [],
        options.depth_unit(MILLIMETRES),
    )


def _trajectory(file: Path) -> tuple[list[float], Float[Tensor, "T 4 4"]]:
    try:
        rows = np.array([line.split() for line in text_of(file).splitlines() if line.strip()])
        table = torch.from_numpy(rows.astype(np.float64).reshape(-1, 7))
    except ValueError as error:
        raise ValueError(
            f"{file}: expected lines of 7 numbers: time, rotation and translation ({error})"
        ) from error
    if not len(table):
        raise ValueError(f"{file}: holds no poses")
    x, y, z = table[:, 1:4].unbind(-1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(-1, 3, 3)
    w2c = torch.eye(4, dtype=torch.float64).repeat(len(table), 1, 1)
    w2c[:, :3, :3] = torch.linalg.matrix_exp(skew)
    w2c[:, :3, 3] = table[:, 4:]
    return table[:, 0].tolist(), w2c


def _by_time(folder: Path, part: str, suffix: str) -> dict[float, Path]:
    """Files ID_TIME by time, in temporal order."""
    files = one_file_each(folder, (folder / part).glob("*"), (suffix,), lambda file: file.stem)
    file_by_time = {}
    for stem, file in files.items():
        try:
            file_by_time[float(stem.rpartition("_")[2])] = file
        except ValueError as error:
            raise ValueError(f"{file}: its name is not ID_TIME{suffix}") from error
    return dict(sorted(file_by_time.items()))


def _nearest(files: dict[float, Path], time: float) -> Path | None:
    times = np.array(list(files))
    if not len(times):
        return None
    after = int(np.searchsorted(times, time))
    best = min(times[max(after - 1, 0) : after + 1], key=lambda other: abs(other - time))
    return files[float(best)] if abs(best - time) <= TOLERANCE else None


def _pincam(file: Path) -> Float[Tensor, "3 3"]:
    try:
        _, _, *numbers = map(float, text_of(file).split())
        return intrinsics(*numbers)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file}: expected width, height, fx, fy, cx, cy ({error})") from error
