"""Camera metrics of cached videos; estimated cameras are cached next to each video.

    ROW/CLIP/cameras_SEED.json     cameras estimated from the video of one seed
    ROW/CLIP/cameras_truth.json    from the true frames

Such a file records the frames, version and config it was made from; if any of these differ, cameras
are estimated again. It contains its own checksum.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.datasets.fingerprint import digest, flat
from anchorweave.eight_bit import to_bytes
from anchorweave.evaluation.camera_error import camera_error, one_place, path_length, rotation_kept
from anchorweave.evaluation.camera_estimate import EstimatedCameras, EstimationConfig
from anchorweave.evaluation.estimated_cameras import (
    estimate_cameras,
    known_matrices,
    pycolmap_version,
)
from anchorweave.files import write_json
from anchorweave.progress import progress
from inference.evaluation.cached_row import OWN_SUM, CachedRow, EvaluationTarget

# Incremented when camera estimation changes in a way that no option reflects.
VERSION = 1


@dataclass(frozen=True)
class KeptCameras:
    """The camera file of one video.

    Args:
        row: the video's row.
        clip: its clip.
        seed: its sampling seed; None = the true frames.
    """

    row: CachedRow
    clip: str
    seed: int | None

    @property
    def path(self) -> Path:
        """Path of the file."""
        name = "truth" if self.seed is None else f"{self.seed:04d}"
        return self.row.path / self.clip / f"cameras_{name}.json"

    def video(self) -> Float[Tensor, "T 3 H W"]:
        """The frames."""
        if self.seed is None:
            return self.row.read_given(self.clip).truth
        return self.row.read_sample(self.clip, self.seed)[0]

    def estimate(self, config: EstimationConfig) -> None:
        """Estimates the cameras and stores them."""
        video = self.video()
        cameras = estimate_cameras(video, self.row.read_given(self.clip).cameras, config)
        values = {
            "made": _made(video, config),
            "pycolmap": pycolmap_version(),
            "c2w": _listed(cameras.c2w[:, :3], cameras.registered),
            "turns": _listed(cameras.turns, cameras.turned),
        }
        write_json({**values, OWN_SUM: digest(values)}, self.path)

    def read(self, config: EstimationConfig) -> EstimatedCameras | None:
        """The cameras; None if missing, or made from other frames or another config.

        Raises:
            ValueError: the file was changed since it was written.
        """
        if not self.path.is_file():
            return None
        try:
            values = json.loads(self.path.read_text())
            # Files of earlier versions have no checksum.
            if OWN_SUM in values and values.pop(OWN_SUM) != digest(values):
                raise ValueError("its checksum differs")
            made = values["made"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{self.path} was changed since it was written ({error}); remove it to estimate "
                "the cameras again"
            ) from error
        if made != _made(self.video(), config):
            return None
        places, registered = known_matrices(values["c2w"], torch.eye(4)[:3])
        c2w = torch.eye(4, dtype=torch.float64).repeat(len(places), 1, 1)
        c2w[:, :3] = places
        turns, turned = known_matrices(values["turns"], torch.eye(3))
        return EstimatedCameras(c2w, registered, turns, turned)


def kept_cameras(row: CachedRow, truth: bool = False) -> list[KeptCameras]:
    """The camera files of a row's existing videos, or of its clips' true frames.

    Raises:
        ValueError: a clip that does not store its cameras.
    """
    record = row.record()
    files = []
    for clip in record["clips"]:
        if not row.has_given(clip):
            continue
        target = row.read_given(clip)
        if target.cameras is None:
            raise ValueError(
                f"{row.path}/{clip} does not store the requested cameras: it was made by "
                "an earlier version, so cameras=true has nothing to compare with; remove the "
                "row's folder and regenerate the row with python -m inference.generate"
            )
        seeds: Sequence[int] = [seed for seed in record["seeds"] if row.has_sample(clip, seed)]
        if truth:
            seeds = [] if target.truth is None else [None]
        files += [KeptCameras(row, clip, seed) for seed in seeds]
    return files


def estimate_missing(
    videos: Sequence[KeptCameras], config: EstimationConfig, processes: int
) -> None:
    """Estimates the cameras of every video that lacks up-to-date ones.

    Raises:
        MissingPycolmapError: there are such videos, but no pycolmap.
    """
    missing = [video for video in videos if video.read(config) is None]
    if not missing:
        return
    pycolmap_version()
    # Each thread waits for its own process.
    with ThreadPoolExecutor(processes) as pool:
        running = [pool.submit(video.estimate, config) for video in missing]
        for done in progress(as_completed(running), "estimating cameras", len(running)):
            done.result()


def camera_values(
    estimated: EstimatedCameras, given: EvaluationTarget, config: EstimationConfig
) -> dict[str, float]:
    """The camera metrics of one video. A failed one has only its failure.

    Args:
        estimated: cameras estimated from its frames.
        given: the clip's evaluation target, with cameras.
        config: defines when too little could be estimated.
    """
    c2w, unit = given.cameras.c2w.double(), given.unit
    turns_failed = estimated.turns_failed(config)
    values = {"rotation_failed": float(turns_failed)}
    if not turns_failed:
        true_turns = c2w[:-1, :3, :3].mT @ c2w[1:, :3, :3]
        turned = estimated.turned
        ratio = rotation_kept(estimated.turns[turned], true_turns[turned])
        values |= {} if ratio is None else {"rotation_kept": ratio}
    if one_place(c2w[:, :3, 3]):
        estimated = estimated.on_the_spot()
    registered, failed = estimated.registered, estimated.failed(config)
    values |= {"camera_frames": registered.double().mean().item(), "camera_failed": float(failed)}
    if failed:
        return values
    error = camera_error(estimated.c2w[registered], c2w[registered], path_length(c2w), config.align)
    values["camera_rotation"] = error.rotation
    if error.translation is not None:
        values["camera_translation"] = error.translation / unit
        values["camera_translation_share"] = error.translation_share
    return values


def _made(video: Tensor, config: EstimationConfig) -> dict[str, Any]:
    colours = to_bytes(video).contiguous().numpy().tobytes()
    how = {f"estimate.{key}": value for key, value in flat(config).items()}
    # Options that only matter when the file is read.
    for later in ("min_registered", "align"):
        how.pop(f"estimate.{later}")
    return {"version": VERSION, "frames": hashlib.sha256(colours).hexdigest()[:16], **how}


def _listed(matrices: Tensor, known: Tensor) -> list:
    return [m.tolist() if k else None for m, k in zip(matrices, known, strict=True)]
