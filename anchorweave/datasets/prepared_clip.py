"""The pixel half of a prepared clip: what it holds, and how preparing writes it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from anchorweave.anchors import Retrieved
from anchorweave.datasets.clip_videos import Storage, write_videos
from anchorweave.datasets.fingerprint import digest
from anchorweave.datasets.layout import (
    CAMERAS,
    CAPTION,
    RECORD,
    REPORT,
    VIDEO,
    VISIBLE,
    anchor_folder,
    anchor_video,
    preceding_folder,
    preceding_video,
    reference_frame,
)
from anchorweave.files import file_sum, write_json
from anchorweave.geometry.cameras import Cameras
from anchorweave.images import write_frame

# In the settings of a clip: "" if the recording has no caption.
OWN_CAPTION = "caption"
# In the record: checksums of every file written by preparing, by path, and of the record itself.
SUMS, OWN_SUM = "sums", "sum"


@dataclass(frozen=True)
class PreparedClip:
    """A target video with what memory systems retrieve for it.

    Args:
        source: the recording it was taken from.
        frame_names: names of its T frames in the recording.
        history_names: names of the frames in memory.
        video: the target frames [T, 3, H, W] in [0, 1].
        cameras: the target cameras [T], in the recording's world and unit.
        unit: one scene unit, in the unit of the cameras: the first frame's median valid depth.
        retrieved: retrieval results for the target cameras, by memory system.
        caption: caption of the target video.
        made: the settings the clip was made with; see `fingerprint.py`.
    """

    source: str
    frame_names: tuple[str, ...]
    history_names: tuple[str, ...]
    video: Float[Tensor, "T 3 H W"]
    cameras: Cameras
    unit: float
    retrieved: Mapping[str, Retrieved]
    caption: str
    made: Mapping[str, Any]


@dataclass(frozen=True)
class ClipCameras:
    """The poses of a prepared clip.

    Args:
        cameras: the target cameras [T].
        unit: one scene unit, in the unit of the cameras.
        target2first: [T, 4, 4], each target camera relative to the first, in the cameras' unit.
        target2source: per memory system [N, T, 4, 4], likewise.
        reference2first: per memory system [R, 4, 4], the cameras of its references, likewise.
        preceding2source: per memory system with preceding frames [N, P, 4, 4], likewise.
        preceding2first: likewise [P, 4, 4], the cameras of these frames.
    """

    cameras: Cameras
    unit: float
    target2first: Float[Tensor, "T 4 4"]
    target2source: dict[str, Float[Tensor, "N T 4 4"]]
    reference2first: dict[str, Float[Tensor, "R 4 4"]]
    preceding2source: dict[str, Float[Tensor, "N P 4 4"]] = field(default_factory=dict)
    preceding2first: dict[str, Float[Tensor, "P 4 4"]] = field(default_factory=dict)


def write_prepared(folder: Path, clip: PreparedClip, fps: int, storage: Storage = "video") -> None:
    """Writes all files of a clip into an empty `folder`, which the caller renames when complete.

    Args:
        folder: the clip's folder.
        clip: what to write.
        fps: frame rate of H.264 files.
        storage: how videos are stored, see `clip_videos.py`.

    Raises:
        OSError: not everything could be written.
    """
    # By folder.
    retrieved = clip.retrieved
    anchors = {anchor_folder(folder, name): result.anchors for name, result in retrieved.items()}
    ahead = {name: result.preceding for name, result in retrieved.items() if result.preceding}
    anchors |= {preceding_folder(folder, name): result.anchors for name, result in ahead.items()}
    videos = {folder / VIDEO: clip.video} | {
        anchor_video(place, slot): video
        for place, folder_anchors in anchors.items()
        for slot, video in enumerate(folder_anchors.video)
    }
    videos |= {preceding_video(folder, name): result.frames for name, result in ahead.items()}
    write_videos(folder, videos, fps, storage)
    (folder / CAPTION).parent.mkdir()
    (folder / CAPTION).write_text(clip.caption + "\n")
    poses = {
        f"target2source.{name}": result.anchors.target2source.numpy()
        for name, result in clip.retrieved.items()
    } | {
        f"reference2first.{name}": result.references.reference2first.numpy()
        for name, result in clip.retrieved.items()
    }
    for name, preceding in ahead.items():
        poses[f"preceding2source.{name}"] = preceding.anchors.target2source.numpy()
        poses[f"preceding2first.{name}"] = preceding.preceding2first.numpy()
    first = clip.cameras.relative_to(clip.cameras[0]).numpy()
    np.savez(
        folder / CAMERAS,
        c2w=clip.cameras.c2w.numpy(),
        K=clip.cameras.K.numpy(),
        size=np.array(clip.cameras.size),
        origin=np.array(clip.cameras.origin),
        unit=np.array(clip.unit),
        target2first=first,
        **poses,
    )
    for place, folder_anchors in anchors.items():
        _write_visible(place, folder_anchors.visible.numpy())
    for name, result in clip.retrieved.items():
        for number, frame in enumerate(result.references.frames):
            path = reference_frame(folder, name, number)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_frame(frame, path)
    report = {name: [asdict(part) for part in r.report] for name, r in clip.retrieved.items()}
    write_json(report, folder / REPORT)
    # Captions may be edited by hand; all other files may not.
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    paths = [file.relative_to(folder).as_posix() for file in files]
    sums = {path: file_sum(folder / path) for path in paths if path != CAPTION}
    record = {
        "source": clip.source,
        "frames": list(clip.frame_names),
        "history": list(clip.history_names),
        "made": dict(clip.made),
        SUMS: sums,
    }
    # As it will be read back, because it is part of its own checksum.
    record = json.loads(json.dumps(record))
    write_json({**record, OWN_SUM: digest(record)}, folder / RECORD)


def _write_visible(folder: Path, visible: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {"bits": np.packbits(visible), "shape": np.array(visible.shape)}
    # numpy's own savez_compressed takes four times as long, for a file 7 % smaller.
    with zipfile.ZipFile(folder / VISIBLE, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        for name, array in arrays.items():
            with packed.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, array)
