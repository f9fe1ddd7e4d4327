"""RealEstate10K camera files, with a video or folder of frames beside them, or alone.

A line is: timestamp in microseconds (66667 or 66667.0), fx fy cx cy as fractions of the image's
width and height, two zeros, and the first three rows of world-to-camera (OpenCV axes). The first
line may be the video's URL.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from anchorweave.geometry.cameras import inverse_rigid
from anchorweave.images import IMAGE_SUFFIXES, image_size
from anchorweave.recordings.base import Recording, posed_cameras
from anchorweave.recordings.image_files import ImageFiles
from anchorweave.recordings.listing import Missing, contained, usable
from anchorweave.video import VIDEO_SUFFIXES, VideoFile

NUMBERS_A_LINE = 19
# The data set's videos are widescreen; without images only the aspect of this size matters.
TRAJECTORY_SIZE = (360, 640)
SECONDS_A_STEP = 1e-6
STAMP = r"\d+(\.\d*)?"


class VideoFrames(Recording):
    """The frames of a video file nearest to the cameras' timestamps.

    Args:
        path: the camera file.
        names: T timestamps.
        cameras: [T].
        video: the opened video.
        positions: index of the video frame of each camera, T of them.
    """

    def __init__(self, path, names, cameras, video: VideoFile, positions: list[int]):
        self.path, self.names, self.cameras = path, tuple(names), cameras
        self.video, self.positions = video, positions

    def files(self) -> list[Path]:
        """The video."""
        return [self.video.path]

    def frame(self, i: int) -> Float[Tensor, "3 H W"]:
        """Colours of frame `i` [3, H, W] in [0, 1]."""
        return self.video.frames([self.positions[i]])[0].float() / 255


class Trajectory(Recording):
    """Cameras without images, as a path through another scene.

    Args:
        path: the camera file.
        names: T names.
        cameras: [T], at a nominal image size.
    """

    has_frames = False

    def __init__(self, path, names, cameras):
        self.path, self.names, self.cameras = path, tuple(names), cameras

    def frame(self, i: int) -> Float[Tensor, "3 H W"]:
        """Always raises: there are no images.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"{self.path}: is a trajectory only; there are no images beside it")


def is_camera_file(path: Path) -> bool:
    """Whether the text file at `path` has 19 numbers in its first data line."""
    lines = path.read_text(errors="replace").split("\n", 2)
    return any(len(line.split()) == NUMBERS_A_LINE for line in lines[:2])


def open_realestate10k(path: Path, missing: Missing = "error") -> Recording:
    """Opens a camera file X.txt.

    Images come from X.mp4 beside it or from a folder X/ of <timestamp>.png or .jpg; with neither,
    it is a trajectory of nominal size 360x640 (height x width).

    Raises:
        FileNotFoundError: cameras without a matching frame, unless `missing` is "skip".
        ValueError: malformed lines, lens distortion, invalid poses or intrinsics, several candidate
            videos or folders, or frames outside the folder.
    """
    stamps, table = _parsed(path)
    named = [path.with_name(f"{path.stem}{suffix}") for suffix in VIDEO_SUFFIXES]
    videos = [file for file in named if file.is_file()]
    folders = [folder for folder in [path.with_name(path.stem)] if folder.is_dir()]
    if len(videos + folders) > 1:
        raise ValueError(
            f"{path}: its frames may come from {' or '.join(f.name for f in videos + folders)} "
            "beside it; remove or rename all but one"
        )
    if videos:
        return _with_video(path, stamps, table, VideoFile(contained(path.parent, *videos)), missing)
    if folders:
        return _with_folder(path, stamps, table, contained(path.parent, *folders), missing)
    return Trajectory(path, stamps, _cameras(path, stamps, table, TRAJECTORY_SIZE))


def _with_video(path, stamps, table, video: VideoFile, missing: Missing) -> VideoFrames:
    times = video.times().numpy()
    numbers = np.array([float(stamp) for stamp in stamps])
    positions, problems = _frames_at(numbers * SECONDS_A_STEP, times, stamps, video.path.name)
    if any(problems) and (unit := _other_unit(numbers, times, stamps)):
        raise ValueError(
            f"{path}: timestamps {stamps[0]} to {stamps[-1]} do not fit the "
            f"{len(times)} frames, {times[-1] - times[0]:.3g} s, of {video.path.name} as "
            f"microseconds, but as {unit}; write them in microseconds"
        )
    usable_frames = usable(path, stamps, problems, missing)
    names = [stamps[i] for i in usable_frames]
    cameras = _cameras(path, names, table[usable_frames], video.size)
    return VideoFrames(path, names, cameras, video, [int(positions[i]) for i in usable_frames])


def _frames_at(seconds: np.ndarray, times: np.ndarray, stamps: Sequence[str], video: str):
    """The frame nearest to each of `seconds` [T], and the problem with it (or None) for each."""
    gaps = np.abs(times[None] - seconds[:, None])
    positions = gaps.argmin(axis=1)
    gaps = gaps.min(axis=1)
    # A little more than half a frame: timestamps and containers round differently.
    tolerance = 0.75 * (np.median(np.diff(times)) if len(times) > 1 else np.inf)
    nearest: dict[int, int] = {}
    for i in np.argsort(gaps, kind="stable"):
        nearest.setdefault(int(positions[i]), int(i))
    problems = []
    for i, (position, gap) in enumerate(zip(positions.tolist(), gaps, strict=True)):
        owner = nearest[position]
        if gap > tolerance:
            problems.append(f"no frame of {video} within {tolerance:.3f} s")
        elif owner != i:
            problems.append(f"its frame {position} of {video} is nearer to {stamps[owner]}")
        else:
            problems.append(None)
    return positions, problems


def _other_unit(numbers: np.ndarray, times: np.ndarray, stamps: Sequence[str]) -> str | None:
    """The unit other than microseconds in which every timestamp has its own frame, or None."""
    readings = {"nanoseconds": 1e-9 * numbers, "milliseconds": 1e-3 * numbers, "seconds": numbers}
    if (numbers == numbers.round()).all() and numbers.max() < len(times):
        readings = {"frame numbers": times[numbers.astype(int)], **readings}
    for unit, seconds in readings.items():
        if not any(_frames_at(seconds, times, stamps, "")[1]):
            return unit
    return None


def _with_folder(path, stamps, table, folder: Path, missing: Missing) -> ImageFiles:
    files: dict[float, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() not in IMAGE_SUFFIXES or not re.fullmatch(STAMP, file.stem):
            continue
        contained(path.parent, file)
        if (existing := files.setdefault(float(file.stem), file)) != file:
            raise ValueError(f"{folder}: {existing.name} and {file.name} have the same timestamp")
    matches = [files.get(float(stamp)) for stamp in stamps]
    problems = [None if file else f"no image in {folder.name}/" for file in matches]
    usable_frames = usable(path, stamps, problems, missing)
    images = [matches[i] for i in usable_frames]
    names = [stamps[i] for i in usable_frames]
    cameras = _cameras(path, names, table[usable_frames], image_size(images[0]))
    return ImageFiles(path, names, cameras, images)


def _parsed(path: Path) -> tuple[list[str], Float[Tensor, "T 18"]]:
    """Timestamps as written, and the other 18 numbers of each line, float64."""
    stamps, rows, lines = [], [], {}
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
        words = line.split()
        if not words or (number == 1 and len(words) == 1):
            continue
        try:
            row = [float(word) for word in words]
        except ValueError:
            row = []
        if len(row) != NUMBERS_A_LINE or not re.fullmatch(STAMP, words[0]):
            raise ValueError(
                f"{path}, line {number}: expected {NUMBERS_A_LINE} numbers (timestamp, fx fy cx "
                f"cy, two zeros, 3x4 world-to-camera), got {len(words)} words: {line[:60]!r}"
            )
        if row[5] or row[6]:
            raise ValueError(
                f"{path}, line {number}: columns 6 and 7 are {row[5]:g} {row[6]:g}, which "
                "must be 0 in RealEstate10K; undistort the images and write zeros"
            )
        if (first := lines.setdefault(row[0], number)) != number:
            raise ValueError(
                f"{path}, line {number}: timestamp {words[0]} repeats that of line {first}; "
                "every camera needs a unique timestamp"
            )
        stamps.append(words[0])
        rows.append(row[1:])
    if not rows:
        raise ValueError(f"{path}: holds no cameras")
    return stamps, torch.tensor(rows, dtype=torch.float64)


def _cameras(path: Path, names: list[str], table: Float[Tensor, "T 18"], size: tuple[int, int]):
    height, width = size
    K = torch.eye(3, dtype=torch.float64).repeat(len(table), 1, 1)
    K[:, 0, 0], K[:, 0, 2] = table[:, 0] * width, table[:, 2] * width
    K[:, 1, 1], K[:, 1, 2] = table[:, 1] * height, table[:, 3] * height
    w2c = torch.eye(4, dtype=torch.float64).repeat(len(table), 1, 1)
    w2c[:, :3] = rearrange(table[:, 6:], "T (row column) -> T row column", row=3)
    return posed_cameras(path, names, inverse_rigid(w2c), K, size)
