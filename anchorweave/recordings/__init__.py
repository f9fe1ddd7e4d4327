"""Posed videos of every supported format; `open_recording` picks the reader."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from anchorweave.geometry.cameras import intrinsics
from anchorweave.images import IMAGE_SUFFIXES
from anchorweave.recordings.base import Format, Recording
from anchorweave.recordings.colmap import is_colmap, open_colmap
from anchorweave.recordings.config import AS_STATED, RecordingConfig
from anchorweave.recordings.image_files import ImageFiles
from anchorweave.recordings.listing import Missing
from anchorweave.recordings.nerfstudio import TRANSFORMS, open_nerfstudio, write_recording
from anchorweave.recordings.one_photo import open_photo
from anchorweave.recordings.phone_scans import (
    is_polycam,
    is_stray_scanner,
    open_polycam,
    open_stray_scanner,
)
from anchorweave.recordings.prediction_folders import is_cut3r, is_vipe, open_cut3r, open_vipe
from anchorweave.recordings.predictions import SUFFIX as PREDICTIONS
from anchorweave.recordings.predictions import is_predictions, open_predictions
from anchorweave.recordings.procedural_rooms.recording import (
    PREFIX,
    open_procedural,
    procedural_recording,
)
from anchorweave.recordings.published.arkitscenes import is_arkitscenes, open_arkitscenes
from anchorweave.recordings.published.context_as_memory import (
    is_context_as_memory,
    open_context_as_memory,
)
from anchorweave.recordings.published.record3d import SUFFIX as RECORD3D
from anchorweave.recordings.published.record3d import is_record3d, open_record3d
from anchorweave.recordings.published.spatialvid import is_spatialvid, open_spatialvid
from anchorweave.recordings.realestate10k import is_camera_file, open_realestate10k
from anchorweave.recordings.reconstruction.footage import is_footage
from anchorweave.recordings.rgbd import (
    is_scannet,
    is_seven_scenes,
    is_tum,
    open_scannet,
    open_seven_scenes,
    open_tum,
)
from anchorweave.video import VIDEO_SUFFIXES

__all__ = [
    "FILE_FORMATS",
    "FOLDER_FORMATS",
    "Format",
    "Recording",
    "RecordingConfig",
    "open_recording",
    "procedural_recording",
    "write_recording",
]

# Folder formats, named in messages by their telltale files; the first match opens the folder.
# To add a format, write a file with two functions and add a line here, or below for single files.
FOLDER_FORMATS: dict[str, Format] = {
    "transforms.json (nerfstudio, instant-ngp)": Format(
        lambda folder: (folder / TRANSFORMS).is_file(),
        lambda folder, *how: open_nerfstudio(folder / TRANSFORMS, *how),
    ),
    "frame-*.color.* (7-Scenes)": Format(is_seven_scenes, open_seven_scenes),
    "rgb.txt (TUM RGB-D)": Format(is_tum, open_tum),
    "color/ and pose/ (ScanNet)": Format(is_scannet, open_scannet),
    "sparse/0/ (COLMAP)": Format(is_colmap, open_colmap),
    "camera/ and color/ (CUT3R, TTT3R)": Format(is_cut3r, open_cut3r),
    "pose/ and rgb/ (ViPE)": Format(is_vipe, open_vipe),
    "keyframes/ (Polycam)": Format(is_polycam, open_polycam),
    "odometry.csv (Stray Scanner)": Format(is_stray_scanner, open_stray_scanner),
    "metadata and rgbd/ (Record3D)": Format(is_record3d, open_record3d),
    "lowres_wide.traj (ARKitScenes)": Format(is_arkitscenes, open_arkitscenes),
    "poses.npy and intrinsics.npy (SpatialVID)": Format(is_spatialvid, open_spatialvid),
    "frames/SCENE beside jsons/ (Context-as-Memory)": Format(
        is_context_as_memory,
        open_context_as_memory,
    ),
}
# Single-file formats, by lower-case suffix. `is_here` is called when a folder of recordings is
# searched; a file that is named directly is opened by its suffix.
FILE_FORMATS: dict[str, Format] = {
    PREDICTIONS: Format(is_predictions, lambda file, missing, how: open_predictions(file, how)),
    RECORD3D: Format(Path.is_file, open_record3d),
}


def open_recording(
    path: str | Path, missing: Missing = "error", options: RecordingConfig = AS_STATED
) -> Recording:
    """Opens the recording at `path`, whatever its format.

    Args:
        path: a folder or file in a format described in data/README.md, or a description such as
            "procedural:seed=3,frames=70,size=128x192" for a procedural room.
        missing: "error" rejects a recording that lists frames without image, depth or pose; "skip"
            skips those frames.
        options: values that override what the recording states.

    Raises:
        FileNotFoundError: nothing at `path`, or incomplete frames that may not be skipped.
        ValueError: an unknown format, or an inconsistent recording.
    """
    if str(path).split(":")[0] == PREFIX:
        made = "a procedural room is exact"
        options.refused(path, "depth_scale", "intrinsics", why=made)
        return open_procedural(str(path))
    path = Path(path)
    if path.is_dir():
        return _open_folder(path, missing, options)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    if path.suffix.lower() == ".json":
        return open_nerfstudio(path, missing, options)
    if path.suffix.lower() == ".txt" and is_camera_file(path):
        return _open_camera_file(path, missing, options)
    if path.suffix.lower() in FILE_FORMATS:
        return FILE_FORMATS[path.suffix.lower()].opened(path, missing, options)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return open_photo(path, options)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        raise _without_poses(path, "a video")
    raise ValueError(
        f"{path}: is neither a transforms.json nor a RealEstate10K camera file (19 numbers per "
        f"line), nor a file of {', '.join(FILE_FORMATS)}"
    )


def camera_files_in(folder: Path) -> list[Path]:
    """The RealEstate10K camera files in `folder`, except hidden ones."""
    texts = [file for file in sorted(folder.glob("*.txt")) if not file.name.startswith(".")]
    return [file for file in texts if file.is_file() and is_camera_file(file)]


def _open_folder(folder: Path, missing: Missing, options: RecordingConfig) -> Recording:
    for kind in FOLDER_FORMATS.values():
        if kind.is_here(folder):
            return kind.opened(folder, missing, options)
    camera_files = camera_files_in(folder)
    if len(camera_files) == 1:
        return _open_camera_file(camera_files[0], missing, options)
    if camera_files:
        raise ValueError(
            f"{folder}: holds {len(camera_files)} RealEstate10K camera files; open one of them, "
            f"such as {camera_files[0]}"
        )
    if is_footage(folder):
        raise _without_poses(folder, "a folder of images")
    state = "holds no recording" if any(folder.iterdir()) else "is empty"
    raise ValueError(
        f"{folder}: {state}; looked for {', '.join(FOLDER_FORMATS)} and RealEstate10K camera files"
    )


def _without_poses(path: Path, kind: str) -> ValueError:
    return ValueError(
        f"{path}: is {kind} without camera poses, which memory needs; `python -m "
        f"inference.reconstruct source={path} output=data/{path.stem}` estimates them, then use "
        f"data/{path.stem} (inference.sample and rollout do both themselves; for many videos: "
        "scripts/reconstruct.sh). Or use a format with poses: "
        f"{', '.join(FOLDER_FORMATS)}, or a RealEstate10K camera file X.txt beside X.mp4"
    )


def _open_camera_file(path: Path, missing: Missing, options: RecordingConfig) -> Recording:
    options.refused(path, "depth_scale", why="RealEstate10K holds no depth")
    recording = open_realestate10k(path, missing)
    if options.intrinsics is None:
        return recording
    if not recording.has_frames:
        options.refused(path, "intrinsics", why="there are no images beside it")
    K = intrinsics(*options.intrinsics).repeat(len(recording), 1, 1)
    recording.cameras = replace(recording.cameras, K=K).validated(str(path), recording.names)
    if isinstance(recording, ImageFiles):
        recording.stored = recording.cameras
    return recording
