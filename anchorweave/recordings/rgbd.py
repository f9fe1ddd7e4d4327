"""Folders of colour, depth and pose files: the formats of 7-Scenes, TUM RGB-D and ScanNet.

All three store camera-to-world poses with OpenCV axes; only units and frame association differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.geometry.cameras import intrinsics
from anchorweave.images import IMAGE_SUFFIXES, image_size
from anchorweave.recordings.base import posed_cameras
from anchorweave.recordings.config import AS_STATED, RecordingConfig
from anchorweave.recordings.depth_files import DEPTH_SUFFIXES
from anchorweave.recordings.frame_order import by_number
from anchorweave.recordings.image_files import ImageFiles
from anchorweave.recordings.listing import Missing, contained, inside, one_file_each, usable
from anchorweave.recordings.reading import text_of

# Documented by 7-Scenes for its 640x480 images: fx, fy, cx, cy.
SEVEN_SCENES_INTRINSICS = (585.0, 585.0, 320.0, 240.0)
# TUM documents 525, 525, 319.5, 239.5 with pixel centres at integers; ours are at .5.
TUM_INTRINSICS = (525.0, 525.0, 320.0, 240.0)
TUM_DEPTH_UNIT = 1 / 5000
# Colour runs at 30 Hz: anything farther away in time belongs to another frame.
TUM_MAX_SECONDS = 0.02
MILLIMETRE = 1e-3
SUFFIXES = {"color": IMAGE_SUFFIXES, "depth": DEPTH_SUFFIXES, "pose": (".txt",)}


def is_seven_scenes(folder: Path) -> bool:
    """Whether `folder` holds frame-NNNNNN.color.* files."""
    return any(folder.glob("frame-*.color.*"))


def is_tum(folder: Path) -> bool:
    """Whether `folder` holds TUM's rgb.txt."""
    return (folder / "rgb.txt").is_file()


def is_scannet(folder: Path) -> bool:
    """Whether `folder` holds color/ and pose/ as written by ScanNet's exporter."""
    return (folder / "color").is_dir() and (folder / "pose").is_dir()


def open_seven_scenes(
    folder: Path, missing: Missing = "error", options: RecordingConfig = AS_STATED
) -> ImageFiles:
    """frame-NNNNNN.{color.png|jpg, depth.png, pose.txt}, camera-intrinsics.txt; millimetres.

    Without camera-intrinsics.txt, 640x480 images get the data set's documented intrinsics.
    """
    parts = {
        part: one_file_each(
            folder,
            folder.glob(f"frame-*.{part}.*"),
            SUFFIXES[part],
            lambda file, part=part: file.name.rpartition(f".{part}.")[0],
        )
        for part in SUFFIXES
    }
    K = _intrinsics_file(folder, "camera-intrinsics.txt", options)
    return _one_file_a_frame(folder, parts, K, SEVEN_SCENES_INTRINSICS, missing, options)


def open_scannet(
    folder: Path, missing: Missing = "error", options: RecordingConfig = AS_STATED
) -> ImageFiles:
    """color/N.jpg, depth/N.png, pose/N.txt, intrinsic/intrinsic_{color,depth}.txt; millimetres.

    N may be any name, such as a decimal timestamp. Frames with pose -inf (tracking lost) count as
    incomplete.
    """
    K = _intrinsics_file(folder, "intrinsic/intrinsic_color.txt", options)
    if K is None:
        raise FileNotFoundError(
            f"{folder}: a ScanNet folder needs intrinsic/intrinsic_color.txt, or "
            "recording.intrinsics=[fx,fy,cx,cy]"
        )
    parts = {
        part: one_file_each(folder, _visible(folder / part), SUFFIXES[part], lambda file: file.stem)
        for part in SUFFIXES
    }
    if not parts["depth"] and (other := _visible(folder / "depth")):
        raise ValueError(
            f"{folder / 'depth'}: holds no depth maps ({', '.join(DEPTH_SUFFIXES)}), but files "
            f"such as {other[0].name}; convert them, or move the folder away"
        )
    depth_K = _intrinsics_file(folder, "intrinsic/intrinsic_depth.txt", AS_STATED)
    return _one_file_a_frame(folder, parts, K, None, missing, options, depth_K)


def open_tum(
    folder: Path, missing: Missing = "error", options: RecordingConfig = AS_STATED
) -> ImageFiles:
    """rgb.txt, depth.txt, groundtruth.txt (t x y z qx qy qz qw), associated by nearest timestamp.

    Frames without depth or pose within 0.02 s count as incomplete. Intrinsics come from
    camera-intrinsics.txt, or for 640x480 images from TUM's documentation. Depth has 5000 steps per
    metre unless `options` override it.
    """
    images = _stamped(folder, "rgb.txt")
    depths = _stamped(folder, "depth.txt") if (folder / "depth.txt").is_file() else {}
    poses = _stamped(folder, "groundtruth.txt")
    names = [row[0] for row in images.values()]
    files = [inside(folder / "rgb.txt", name) for name in names]
    rows = _partners(images, poses)
    maps = [
        None if row is None else inside(folder / "depth.txt", row[0])
        for row in _partners(images, depths)
    ]
    problems = []
    for file, row, depth in zip(files, rows, maps, strict=True):
        if not file.is_file():
            problems.append("the image does not exist")
        elif row is None:
            problems.append(f"no pose within {TUM_MAX_SECONDS} s")
        elif depths and depth is None:
            problems.append(f"no depth within {TUM_MAX_SECONDS} s")
        elif depths and not depth.is_file():
            problems.append(f"{depth.name} does not exist")
        else:
            problems.append(None)
    usable_frames = usable(folder / "rgb.txt", names, problems, missing)
    return _assembled(
        folder,
        [names[i] for i in usable_frames],
        torch.stack([_pose_of_quaternion(folder, rows[i]) for i in usable_frames]),
        [files[i] for i in usable_frames],
        [maps[i] for i in usable_frames] if depths else [],
        _intrinsics_file(folder, "camera-intrinsics.txt", options),
        TUM_INTRINSICS,
        options,
        depth_unit=TUM_DEPTH_UNIT,
    )


def _visible(folder: Path) -> list[Path]:
    files = folder.iterdir() if folder.is_dir() else ()
    return sorted(file for file in files if not file.name.startswith("."))


def _one_file_a_frame(folder, parts, K, default, missing, options, depth_K=None) -> ImageFiles:
    if not parts["color"] or not parts["pose"]:
        counts = {part: len(files) for part, files in parts.items()}
        raise FileNotFoundError(f"{folder}: needs colour images and poses, got {counts} files")
    if not parts["depth"]:
        parts = {part: parts[part] for part in ("color", "pose")}
    stems = sorted(set().union(*parts.values()))
    stems = [stems[i] for i in by_number(stems)]
    poses = {stem: _matrix(file, 4) for stem, file in parts["pose"].items()}
    problems = []
    for stem in stems:
        lacking = [part for part in parts if stem not in parts[part]]
        if lacking:
            problems.append(f"no {' and no '.join(lacking)} file")
        # ScanNet's marker for "tracking lost"; NaN, in contrast, is rejected below.
        elif torch.isinf(poses[stem]).any():
            problems.append("its pose is infinite (tracking lost)")
        else:
            problems.append(None)
    usable_stems = [stems[i] for i in usable(folder, stems, problems, missing)]
    return _assembled(
        folder,
        usable_stems,
        torch.stack([poses[stem] for stem in usable_stems]),
        [parts["color"][stem] for stem in usable_stems],
        [parts["depth"][stem] for stem in usable_stems] if "depth" in parts else [],
        K,
        default,
        options,
        depth_K=depth_K,
    )


def _assembled(
    folder, names, c2w, images, depths, K, default, options, depth_unit=MILLIMETRE, depth_K=None
) -> ImageFiles:
    if not depths:
        options.refused(folder, "depth_scale", why="it holds no depth")
    size = image_size(images[0])
    if K is None and size != (480, 640):
        raise FileNotFoundError(
            f"{folder}: no intrinsics are known for images of {size[0]}x{size[1]} (height x "
            "width); write the 3x3 matrix in pixels to camera-intrinsics.txt, or set "
            "recording.intrinsics=[fx,fy,cx,cy]"
        )
    K = intrinsics(*default) if K is None else K
    cameras = posed_cameras(folder, names, c2w, K.expand(len(names), 3, 3), size)
    return ImageFiles(
        folder,
        names,
        cameras,
        images,
        depths,
        options.depth_unit(depth_unit),
        depth_K,
        unit_stated=options.depth_scale is not None,
    )


def _matrix(file: Path, side: int) -> Float[Tensor, "N N"]:
    try:
        rows = [[float(x) for x in line.split()] for line in text_of(file).splitlines()]
        matrix = torch.tensor([row for row in rows if row], dtype=torch.float64)
    except ValueError as error:
        raise ValueError(f"{file}: is not a table of numbers ({error})") from error
    if matrix.shape != (side, side):
        raise ValueError(
            f"{file}: holds numbers of shape {tuple(matrix.shape)}, expected {side}x{side}"
        )
    return matrix


def _intrinsics_file(
    folder: Path, name: str, options: RecordingConfig
) -> Float[Tensor, "3 3"] | None:
    """K [3, 3] from `options`, or from a 3x3 file (7-Scenes) or a 4x4 one (ScanNet)."""
    if options.intrinsics is not None:
        return intrinsics(*options.intrinsics)
    file = folder / name
    if not file.is_file():
        return None
    side = 4 if file.parent.name == "intrinsic" else 3
    return _matrix(contained(folder, file), side)[:3, :3].float()


def _stamped(folder: Path, name: str) -> dict[float, list[str]]:
    """Rows of a TUM list by their timestamp in seconds, in temporal order."""
    file = folder / name
    if not file.is_file():
        raise FileNotFoundError(f"{folder}: a TUM folder needs {name}")
    contained(folder, file)
    rows = {}
    for number, line in enumerate(text_of(file).splitlines(), start=1):
        if words := line.split("#")[0].split():
            try:
                time = float(words[0])
            except ValueError as error:
                raise ValueError(f"{file}, line {number}: {words[0]!r} is not a time") from error
            if len(words) < 2:
                raise ValueError(f"{file}, line {number}: nothing follows the time {words[0]}")
            if not math.isfinite(time) or rows.setdefault(time, words[1:]) != words[1:]:
                raise ValueError(
                    f"{file}, line {number}: the time {words[0]} is invalid or listed twice"
                )
    if not rows:
        raise ValueError(f"{file}: lists nothing")
    return dict(sorted(rows.items()))


def _partners(frames: dict[float, list[str]], others: dict[float, list[str]]):
    """For each of `frames` the row of `others` nearest in time, or None if it is too far away."""
    times = np.array(list(others))
    partners: list[list[str] | None] = []
    for time in frames:
        i = int(np.searchsorted(times, time))
        near = times[max(i - 1, 0) : i + 1]
        best = min(near, key=lambda t: abs(t - time), default=None)
        close = best is not None and abs(best - time) <= TUM_MAX_SECONDS
        partners.append(others[float(best)] if close else None)
    return partners


def _pose_of_quaternion(folder: Path, words: Sequence[str]) -> Float[Tensor, "4 4"]:
    try:
        *centre, i, j, k, w = (float(word) for word in words)
    except ValueError:
        centre, (i, j, k, w) = [], (0.0, 0.0, 0.0, 0.0)
    length = np.linalg.norm([i, j, k, w])
    if len(centre) != 3 or not abs(length - 1) < 1e-2:
        raise ValueError(
            f"{folder / 'groundtruth.txt'}: {' '.join(words)!r} is not x y z and a unit quaternion "
            "qx qy qz qw"
        )
    i, j, k, w = np.array([i, j, k, w]) / length
    cross = np.array([[0, -k, j], [k, 0, -i], [-j, i, 0]])
    c2w = torch.eye(4, dtype=torch.float64)
    c2w[:3, :3] = torch.from_numpy(np.eye(3) + 2 * w * cross + 2 * cross @ cross)
    c2w[:3, 3] = torch.tensor(centre)
    return c2w
