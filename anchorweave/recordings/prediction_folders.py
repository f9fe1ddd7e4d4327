"""Network predictions written as folders: CUT3R and TTT3R, and ViPE.

    camera/NNNNNN.npz (pose, intrinsics)  color/NNNNNN.png  depth/NNNNNN.npy      CUT3R, TTT3R
    pose/X.npz  intrinsics/X.npz (inds, data)  rgb/X.mp4                          ViPE

ViPE's depth is in zipped OpenEXR files, which are not supported, so it is ignored.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from anchorweave.geometry.cameras import intrinsics
from anchorweave.images import image_size
from anchorweave.recordings.base import posed_cameras
from anchorweave.recordings.config import AS_STATED, RecordingConfig
from anchorweave.recordings.image_files import ImageFiles
from anchorweave.recordings.listing import Missing, one_file_each, usable
from anchorweave.recordings.realestate10k import VideoFrames
from anchorweave.video import VideoFile


def is_cut3r(folder: Path) -> bool:
    """Whether `folder` was written by CUT3R's demo."""
    return (folder / "color").is_dir() and any((folder / "camera").glob("*.npz"))


def open_cut3r(
    folder: Path, missing: Missing = "error", options: RecordingConfig = AS_STATED
) -> ImageFiles:
    """Opens a CUT3R or TTT3R prediction.

    Raises:
        FileNotFoundError: frames without colours or depth, unless `missing` is "skip".
        ValueError: unexpected file contents, or invalid poses.
    """
    options.refused(folder, "depth_scale", why="its depth is in the unit of its poses")
    parts = {"camera": (".npz",), "color": (".png",), "depth": (".npy",)}
    files = {
        part: one_file_each(folder, (folder / part).glob("*"), suffixes, lambda file: file.stem)
        for part, suffixes in parts.items()
    }
    names = sorted(files["camera"])
    problems = [
        next((f"no {part}" for part in parts if name not in files[part]), None) for name in names
    ]
    names = [names[i] for i in usable(folder, names, problems, missing)]
    poses, matrices = [], []
    for name in names:
        stored = _arrays(files["camera"][name], "pose", "intrinsics")
        poses.append(torch.from_numpy(stored["pose"].astype(np.float64)).reshape(4, 4))
        matrices.append(torch.from_numpy(stored["intrinsics"].astype(np.float64)).reshape(3, 3))
    images = [files["color"][name] for name in names]
    if options.intrinsics is not None:
        matrices = [intrinsics(*options.intrinsics)] * len(names)
    cameras = posed_cameras(
        folder, names, torch.stack(poses), torch.stack(matrices), image_size(images[0])
    )
    depths = [files["depth"][name] for name in names]
    return ImageFiles(folder, names, cameras, images, depths, depth_unit=1.0)


def is_vipe(folder: Path) -> bool:
    """Whether `folder` was written by ViPE."""
    return any((folder / "pose").glob("*.npz")) and any((folder / "rgb").glob("*.mp4"))


def open_vipe(
    folder: Path, missing: Missing = "error", options: RecordingConfig = AS_STATED
) -> VideoFrames:
    """Opens a video with cameras predicted by ViPE; without its depth.

    Raises:
        ValueError: several videos, unexpected file contents, or invalid poses.
    """
    options.refused(folder, "depth_scale", "intrinsics", why="ViPE states its own")
    videos = sorted((folder / "rgb").glob("*.mp4"))
    if len(videos) > 1:
        raise ValueError(
            f"{folder}: holds predictions for {len(videos)} videos ({videos[0].stem} ...); move "
            "each, with its pose/ and intrinsics/, into its own folder"
        )
    name, video = videos[0].stem, VideoFile(videos[0])
    poses = _arrays(folder / "pose" / f"{name}.npz", "inds", "data")
    lenses = _arrays(folder / "intrinsics" / f"{name}.npz", "inds", "data")
    if not np.array_equal(poses["inds"], lenses["inds"]) or lenses["data"].shape[1:] != (4,):
        raise ValueError(
            f"{folder}: pose/ and intrinsics/ of {name} do not cover the same frames of a pinhole "
            f"camera (intrinsics {list(lenses['data'].shape)}, expected [T, 4])"
        )
    positions = poses["inds"].astype(int).tolist()
    if outside := [i for i in positions if not 0 <= i < len(video)]:
        raise ValueError(f"{folder}: {videos[0].name} has {len(video)} frames, no {outside[0]}")
    K = torch.stack([intrinsics(*map(float, row)) for row in lenses["data"]])
    c2w = torch.from_numpy(poses["data"].astype(np.float64))
    names = [f"{i:06d}" for i in positions]
    cameras = posed_cameras(folder, names, c2w, K, video.size)
    return VideoFrames(folder, names, cameras, video, positions)


def _arrays(file: Path, *names: str) -> dict[str, np.ndarray]:
    try:
        with np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in names}
    # On damaged files numpy may raise anything.
    except Exception as error:
        raise ValueError(
            f"{file}: is not an .npz with {' and '.join(names)} ({type(error).__name__}: {error})"
        ) from error
