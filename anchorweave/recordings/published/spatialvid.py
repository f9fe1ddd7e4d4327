"""SpatialVID (SpatialVID-HQ): cameras estimated by MegaSaM for some frames of each clip.

    ROOT/annotations/GROUP/ID/  poses.npy  intrinsics.npy  indexes.txt  dyn_masks.npz  caption.json
    ROOT/videos/GROUP/ID.mp4    (or ID.mp4 in the annotations' folder)

poses.npy [N, 7] is world-to-camera, x y z qx qy qz qw; intrinsics.npy [N, 4] is fx fy cx cy as
fractions of width and height; a line of indexes.txt is "i frame", the video frame that row i
annotates. The scale is arbitrary. Depth is in zipped OpenEXR files, which are not supported.

Source: the data set's card, and utils/pack_clip_assets.py and utils/read_depth.py of its code.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from anchorweave.geometry.cameras import intrinsics, inverse_rigid, pose_matrix
from anchorweave.recordings.base import posed_cameras
from anchorweave.recordings.config import AS_STATED, RecordingConfig
from anchorweave.recordings.image_files import check_aspect, depth_in_image
from anchorweave.recordings.listing import Missing, contained, usable
from anchorweave.recordings.reading import text_of
from anchorweave.recordings.realestate10k import VideoFrames
from anchorweave.video import VideoFile

POSES, INTRINSICS, INDEXES = "poses.npy", "intrinsics.npy", "indexes.txt"
MASKS, CAPTIONS = "dyn_masks.npz", "caption.json"


class AnnotatedFrames(VideoFrames):
    """The annotated frames of a clip.

    Args:
        rows: annotation row of each frame, T of them.
        **video: the arguments of `VideoFrames`.
    """

    def __init__(self, rows: list[int], **video):
        super().__init__(**video)
        self.rows = rows

    def files(self) -> list[Path]:
        """The video and the masks."""
        masks = self.path / MASKS
        return [self.video.path, *([masks] if masks.is_file() else [])]

    def static(self, i: int) -> Bool[Tensor, "H W"] | None:
        """Where frame `i` shows nothing that moves [H, W]; None if there are no masks."""
        file = self.path / MASKS
        if not file.is_file():
            return None
        moving = _mask(contained(self.path, file), self.rows[i])
        check_aspect(file, "mask", tuple(moving.shape), self.cameras.size)
        return depth_in_image((~moving).float(), self.cameras[i]) > 0

    def caption(self, frames: Sequence[int] | None = None) -> str | None:
        """The text beside the recording, or else the `SceneSummary` of its caption.json."""
        if (text := super().caption(frames)) is not None:
            return text
        file = self.path / CAPTIONS
        if not file.is_file():
            return None
        try:
            summary = json.loads(text_of(contained(self.path, file)))["SceneSummary"].strip()
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{file}: is not a SpatialVID caption.json ({type(error).__name__}: {error})"
            ) from error
        return summary or None


def is_spatialvid(folder: Path) -> bool:
    """Whether `folder` holds the annotations of a clip."""
    return (folder / POSES).is_file() and (folder / INTRINSICS).is_file()


def open_spatialvid(
    folder: Path, missing: Missing = "error", options: RecordingConfig = AS_STATED
) -> AnnotatedFrames:
    """Opens a clip whose annotations are in `folder`.

    Raises:
        FileNotFoundError: no video or indexes.txt; annotated frames that the video lacks, unless
            `missing` is "skip".
        ValueError: unexpected file contents, or invalid poses.
    """
    options.refused(folder, "depth_scale", why="its depth (OpenEXR) is not read")
    video = VideoFile(_video(folder))
    poses, shares = _array(folder / POSES, 7), _array(folder / INTRINSICS, 4)
    positions = _indexes(folder / INDEXES)
    if not len(poses) == len(shares) == len(positions):
        raise ValueError(
            f"{folder}: {len(poses)} poses, {len(shares)} intrinsics and {len(positions)} lines of "
            f"{INDEXES}; expected one of each per frame"
        )
    names = [f"{position:06d}" for position in positions]
    problems = [
        None if 0 <= position < len(video) else f"{video.path.name} has {len(video)} frames"
        for position in positions
    ]
    usable_frames = usable(folder, names, problems, missing)
    height, width = video.size
    if options.intrinsics is not None:
        K = intrinsics(*options.intrinsics).repeat(len(usable_frames), 1, 1)
    else:
        pixels = shares[usable_frames] * np.array([width, height, width, height])
        K = torch.stack([intrinsics(*row) for row in pixels.tolist()])
    w2c = torch.from_numpy(poses[usable_frames])
    c2w = inverse_rigid(pose_matrix(w2c[:, 3:], w2c[:, :3]))
    names = [names[i] for i in usable_frames]
    return AnnotatedFrames(
        rows=usable_frames,
        path=folder,
        names=names,
        cameras=posed_cameras(folder, names, c2w, K, video.size),
        video=video,
        positions=[positions[i] for i in usable_frames],
    )


def _video(folder: Path) -> Path:
    folder = folder.resolve()
    name = f"{folder.name}.mp4"
    beside = folder / name
    if beside.is_file():
        return contained(folder, beside)
    if len(folder.parents) > 2:
        root = folder.parents[2]
        if (video := root / "videos" / folder.parent.name / name).is_file():
            return contained(root, video)
    raise FileNotFoundError(
        f"{folder}: the clip's video is neither {name} in it nor "
        f"../../../videos/{folder.parent.name}/{name}, as SpatialVID lays it out"
    )


def _array(file: Path, width: int) -> np.ndarray:
    try:
        stored = np.load(file, allow_pickle=False).astype(np.float64)
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"{file}: cannot be read as a NumPy array ({error})") from error
    if stored.ndim != 2 or stored.shape[1] != width:
        raise ValueError(f"{file}: holds {list(stored.shape)} numbers, expected [N, {width}]")
    return stored


def _indexes(file: Path) -> list[int]:
    if not file.is_file():
        raise FileNotFoundError(
            f"{file}: needed to know which video frames are annotated; the data set's "
            "get_index.py writes this file if an older release lacks it"
        )
    try:
        rows = [
            tuple(map(int, line.split())) for line in text_of(file).splitlines() if line.strip()
        ]
        if [i for i, _ in rows] != list(range(len(rows))):
            raise ValueError("the first numbers do not count from 0")
    except ValueError as error:
        raise ValueError(f'{file}: expected lines "i frame" ({error})') from error
    return [frame for _, frame in rows]


def _mask(file: Path, row: int) -> Bool[Tensor, "h w"]:
    """The moving pixels of one annotated frame, stored as a sparse matrix (CSR)."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            height, width = map(int, stored["shape"])
            data, columns, starts = (
                stored[f"f_{row}_{part}"] for part in ("data", "indices", "indptr")
            )
        mask = np.zeros((height, width), dtype=bool)
        mask[np.repeat(np.arange(height), np.diff(starts)), columns] = data != 0
    except (OSError, EOFError, KeyError, ValueError, IndexError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{file}: holds no mask of row {row} ({type(error).__name__}: {error})"
        ) from error
    return torch.from_numpy(mask)
