"""Reads the pixel half of a prepared clip, and checks it against its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anchorweave.anchors import Anchors, Preceding
from anchorweave.datasets.clip_videos import read_clip_video
from anchorweave.datasets.fingerprint import digest
from anchorweave.datasets.layout import (
    CAMERAS,
    CAPTION,
    RECORD,
    VIDEO,
    VISIBLE,
    BadClip,
    anchor_folder,
    anchor_video,
    preceding_folder,
    preceding_video,
    read_json,
    reading,
    reference_frame,
)
from anchorweave.datasets.prepared_clip import OWN_CAPTION, OWN_SUM, SUMS, ClipCameras
from anchorweave.files import file_sum
from anchorweave.geometry.cameras import Cameras
from anchorweave.images import read_frame


def read_record(clip: Path) -> dict[str, Any]:
    """`clip.json`: source, frames, history and made.

    Raises:
        BadClip: the file is missing, unreadable or incomplete, or does not match its checksum.
    """
    record = _whole_record(clip)
    with reading(clip, RECORD):
        return {key: record[key] for key in ("source", "frames", "history", "made")}


def check_sums(clip: Path, only: Sequence[str] = ()) -> bool:
    """Verifies the checksums of the existing files of a clip.

    Args:
        clip: its folder.
        only: paths within it; None = all files.

    Returns:
        Whether its record has checksums; clips prepared by an earlier version have none.

    Raises:
        BadClip: the record is unreadable, or a file does not match.
    """
    sums = _whole_record(clip).get(SUMS, {})
    for path in only or sums:
        # Pixels may be deleted after encoding; code that needs them reports that they are missing.
        if path in sums and (clip / path).is_file():
            with reading(clip, path):
                checksum = file_sum(clip / path)
            if checksum != sums[path]:
                raise BadClip(
                    clip,
                    f"{path} has changed since it was prepared (its checksum is {checksum}, "
                    f"{RECORD} says {sums[path]}); remove the clip to have it made again",
                )
    return bool(sums)


def _whole_record(clip: Path) -> dict[str, Any]:
    with reading(clip, RECORD):
        record = read_json(clip / RECORD)
    if OWN_SUM in record and record.pop(OWN_SUM) != digest(record):
        raise BadClip(
            clip, f"{RECORD} has changed since it was prepared; remove the clip to make it again"
        )
    return record


def read_caption(clip: Path) -> str:
    """The caption; empty for a clip whose record says that it was prepared without one.

    Raises:
        BadClip: the file is missing, or unexpectedly empty.
    """
    with reading(clip, CAPTION):
        caption = (clip / CAPTION).read_text().strip()
    if not caption and read_record(clip)["made"].get(OWN_CAPTION) != "":
        raise BadClip(clip, f"{CAPTION} is empty")
    return caption


def read_target(clip: Path) -> Float[Tensor, "T 3 H W"]:
    """The target frames in [0, 1].

    Raises:
        BadClip: the video is missing or unreadable.
    """
    return read_clip_video(clip, clip / VIDEO).float() / 255


def read_cameras(clip: Path) -> ClipCameras:
    """All poses.

    Raises:
        BadClip: the file is missing, unreadable or incomplete, or holds values that are not finite.
    """
    with reading(clip, CAMERAS), np.load(clip / CAMERAS) as stored:
        arrays = {name: torch.from_numpy(stored[name]) for name in stored.files}
        height, width = arrays["size"].tolist()
        # Clips prepared by earlier versions have none.
        x, y, z = arrays["origin"].tolist() if "origin" in arrays else (0.0, 0.0, 0.0)
        poses = ClipCameras(
            Cameras(arrays["c2w"], arrays["K"], (height, width), (x, y, z)),
            arrays["unit"].item(),
            arrays["target2first"],
            _by_memory(arrays, "target2source."),
            _by_memory(arrays, "reference2first."),
            _by_memory(arrays, "preceding2source."),
            _by_memory(arrays, "preceding2first."),
        )
    if wrong := [name for name, array in arrays.items() if not array.isfinite().all()]:
        raise BadClip(clip, f"{CAMERAS} holds values that are not finite: {', '.join(wrong)}")
    if not poses.unit > 0:
        raise BadClip(clip, f"{CAMERAS}: the scene unit is {poses.unit}, which is not positive")
    return poses


def read_visible(clip: Path, memory: str) -> Bool[Tensor, "N T H W"]:
    """Which pixels of the anchors of one memory system were observed.

    Raises:
        BadClip: the file is missing, unreadable or incomplete.
    """
    return _read_visible(clip, anchor_folder(clip, memory))


def _read_visible(clip: Path, folder: Path) -> Bool[Tensor, "N T H W"]:
    path = folder / VISIBLE
    with reading(clip, str(path.relative_to(clip))), np.load(path) as stored:
        shape = stored["shape"]
        bits = np.unpackbits(stored["bits"], count=int(shape.prod()))
        return torch.from_numpy(bits.reshape(shape)).bool()


def read_anchors(clip: Path, memory: str) -> Anchors:
    """The anchors of one memory system, with compression artefacts in holes reset to black.

    Raises:
        BadClip: a file is missing or unreadable, or they are inconsistent.
    """
    poses = read_cameras(clip).target2source.get(memory)
    if poses is None:
        raise BadClip(clip, f"{CAMERAS} has no poses for the anchors of {memory}")
    return _read_anchors(clip, anchor_folder(clip, memory), poses)


def _read_anchors(clip: Path, folder: Path, poses: Float[Tensor, "N T 4 4"]) -> Anchors:
    visible = _read_visible(clip, folder)
    videos = []
    for slot in range(len(visible)):
        path = anchor_video(folder, slot)
        videos.append(read_clip_video(clip, path).float() / 255)
        shape, expected = (len(videos[-1]), *videos[-1].shape[2:]), tuple(visible.shape[1:])
        if shape != expected:
            what = f"{path.relative_to(clip)} is {shape} (frames, height, width)"
            raise BadClip(clip, f"{what}, but {VISIBLE} is {expected}")
    T, H, W = visible.shape[1:]
    video = torch.stack(videos) if videos else torch.zeros(0, T, 3, H, W)
    if poses.shape[:2] != visible.shape[:2]:
        raise BadClip(clip, f"{CAMERAS} has {tuple(poses.shape)} poses for {len(visible)} anchors")
    return Anchors(torch.where(visible[:, :, None], video, 0.0), visible, poses)


def read_references(clip: Path, memory: str) -> Float[Tensor, "R 3 H W"]:
    """The reference frames of one memory system in [0, 1].

    Raises:
        BadClip: a file is missing or unreadable, or of another size than the target.
    """
    poses = read_cameras(clip)
    if memory not in poses.reference2first:
        raise BadClip(clip, f"{CAMERAS} has no poses for the references of {memory}")
    frames = []
    for number in range(len(poses.reference2first[memory])):
        path = reference_frame(clip, memory, number)
        what = str(path.relative_to(clip))
        with reading(clip, what):
            # The error of an unreadable image includes its path.
            frames.append(read_frame(path))
        if (shape := tuple(frames[-1].shape[1:])) != poses.cameras.size:
            raise BadClip(clip, f"{what} is {shape} (height, width), not {poses.cameras.size}")
    return torch.stack(frames) if frames else torch.zeros(0, 3, *poses.cameras.size)


def read_preceding(clip: Path, memory: str) -> Preceding | None:
    """The frames before the target and the anchors at their cameras; None if there are none.

    Raises:
        BadClip: a file is missing or unreadable, or they are inconsistent.
    """
    poses = read_cameras(clip)
    first, source = (of.get(memory) for of in (poses.preceding2first, poses.preceding2source))
    if first is None:
        return None
    if source is None:
        raise BadClip(clip, f"{CAMERAS} has no poses for the preceding anchors of {memory}")
    path = preceding_video(clip, memory)
    frames = read_clip_video(clip, path).float() / 255
    shape, expected = (len(frames), *frames.shape[2:]), (len(first), *poses.cameras.size)
    if shape != expected:
        what = f"{path.relative_to(clip)} is {shape} (frames, height, width)"
        raise BadClip(clip, f"{what}, expected {expected}")
    anchors = _read_anchors(clip, preceding_folder(clip, memory), source)
    if (shape := (anchors.video.shape[1], *anchors.video.shape[3:])) != expected:
        raise BadClip(clip, f"the preceding anchors of {memory} are {shape}, expected {expected}")
    return Preceding(frames, anchors, first)


def _by_memory(arrays: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): pose for name, pose in arrays.items() if name.startswith(prefix)
    }
