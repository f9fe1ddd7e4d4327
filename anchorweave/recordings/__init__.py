"""Posed videos of every supported format; `open_recording` picks the reader."""

from __future__ import annotations

from pathlib import Path

from anchorweave.images import IMAGE_SUFFIXES
from anchorweave.recordings.base import Recording
from anchorweave.recordings.listing import Missing
from anchorweave.recordings.nerfstudio import TRANSFORMS, open_nerfstudio, write_recording
from anchorweave.recordings.procedural import PREFIX, open_procedural, procedural_recording
from anchorweave.recordings.realestate10k import is_camera_file, open_realestate10k
from anchorweave.recordings.rgbd import (
    is_scannet,
    is_seven_scenes,
    is_tum,
    open_scannet,
    open_seven_scenes,
    open_tum,
)
from anchorweave.video import VIDEO_SUFFIXES

__all__ = ["Recording", "open_recording", "procedural_recording", "write_recording"]

FOLDER_FORMATS = {
    "transforms.json (nerfstudio, instant-ngp)": (
        lambda folder: (folder / TRANSFORMS).is_file(),
        lambda folder, missing: open_nerfstudio(folder / TRANSFORMS, missing),
    ),
    "frame-*.color.* (7-Scenes)": (is_seven_scenes, open_seven_scenes),
    "rgb.txt (TUM RGB-D)": (is_tum, open_tum),
    "color/ and pose/ (ScanNet)": (is_scannet, open_scannet),
}


def open_recording(path: str | Path, missing: Missing = "error") -> Recording:
    """The recording at `path`, whatever its format.

    Args:
        path: a folder or file of a format that data/README.md describes, or words such as
            "procedural:seed=3,frames=70,size=128x192" for a room made on the spot.
        missing: "error" refuses a recording that lists frames without image, depth or pose;
            "skip" goes on without those frames.

    Raises:
        FileNotFoundError: nothing at `path`, or incomplete frames that may not be skipped.
        ValueError: no known format, or a recording that is wrong in itself.
    """
    if str(path).split(":")[0] == PREFIX:
        return open_procedural(str(path))
    path = Path(path)
    if path.is_dir():
        return _open_folder(path, missing)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    if path.suffix.lower() == ".json":
        return open_nerfstudio(path, missing)
    if path.suffix.lower() == ".txt" and is_camera_file(path):
        return open_realestate10k(path, missing)
    if path.suffix.lower() in (*VIDEO_SUFFIXES, *IMAGE_SUFFIXES):
        kind = "a video" if path.suffix.lower() in VIDEO_SUFFIXES else "an image"
        raise ValueError(
            f"{path}: is {kind} without camera poses, which memory needs; give a folder or file "
            f"that carries them: {', '.join(FOLDER_FORMATS)}, or a RealEstate10K camera "
            "file X.txt beside X.mp4"
        )
    raise ValueError(
        f"{path}: is neither a transforms.json nor a RealEstate10K camera file (19 numbers a line)"
    )


def _open_folder(folder: Path, missing: Missing) -> Recording:
    for is_format, open_format in FOLDER_FORMATS.values():
        if is_format(folder):
            return open_format(folder, missing)
    texts = sorted(folder.glob("*.txt"))
    camera_files = [file for file in texts if is_camera_file(file)]
    if len(camera_files) == 1:
        return open_realestate10k(camera_files[0], missing)
    if camera_files:
        raise ValueError(
            f"{folder}: holds {len(camera_files)} RealEstate10K camera files; open one of them, "
            f"such as {camera_files[0]}"
        )
    state = "holds no recording" if any(folder.iterdir()) else "is empty"
    raise ValueError(
        f"{folder}: {state}; looked for {', '.join(FOLDER_FORMATS)} and RealEstate10K camera files"
    )
