"""Scores of cached videos: numbers per video, per clip and per row.

PSNR and SSIM are high for good videos, and also for frozen ones if the truth hardly moves; motion
and camera metrics tell these apart. The scores of the truth itself (row `truth`) are the upper
bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from anchorweave.datasets.fingerprint import digest
from anchorweave.evaluation.bootstrap import Interval, bootstrap_interval
from anchorweave.evaluation.camera_estimate import EstimationConfig
from anchorweave.progress import progress
from inference.evaluation.cached_row import CachedRow
from inference.evaluation.camera_scores import KeptCameras
from inference.evaluation.video_scores import check_shape, video_values

# Column -> description, in table order.
METRICS = {
    "psnr": "PSNR, all pixels (dB)",
    "ssim": "SSIM, all pixels",
    "psnr_shown": "PSNR where the row's anchors show (dB)",
    "ssim_shown": "SSIM where the row's anchors show",
    "psnr_only_memory": "PSNR where only memory can know (dB)",
    "ssim_only_memory": "SSIM where only memory can know",
    "psnr_loop": "PSNR, last frame against first (dB)",
    "ssim_loop": "SSIM, last frame against first",
    "psnr_paired": "PSNR, way back against way out at the same poses (dB)",
    "ssim_paired": "SSIM, way back against way out at the same poses",
    "motion_energy": "motion over the truth's (near 1 is good, 0 = frozen)",
    "motion_agreement": "motion, cosine with the truth's (0 = frozen)",
    "camera_rotation": "camera rotation error (degrees)",
    "camera_translation": "camera translation error (scene units)",
    "camera_translation_share": "camera translation error (share of the path)",
    "camera_frames": "share of frames with an estimated camera",
    "camera_failed": "share of videos whose cameras could not be estimated",
    "rotation_kept": "rotation over the true one (near 1 is good, 0 = frozen)",
    "rotation_failed": "share of videos whose rotation could not be estimated",
}
# What the row of the true frames is called.
TRUTH = "truth"


def comparable(metric: str) -> bool:
    """Whether two rows are measured on the same pixels: what anchors show differs by row."""
    return not metric.endswith("_shown")


@dataclass(frozen=True)
class Score:
    """Scores of one video.

    Args:
        clip: the clip's name.
        seed: the sampling seed.
        values: metric -> value; metrics without pixels to measure are omitted.
        parts: PSNR in dB of each frame after the given one (partial revisit), or of each segment
            (closed loop); empty if the truth is unknown.
        seconds: time to make it, including retrieval.
    """

    clip: str
    seed: int
    values: dict[str, float]
    parts: tuple[float, ...]
    seconds: float


@dataclass(frozen=True)
class RowScores:
    """All existing videos of a row.

    Args:
        record: content of the row's `row.json`.
        scores: scores of the videos.
        missing: missing videos, as "clip, seed".
    """

    record: dict[str, Any]
    scores: tuple[Score, ...]
    missing: tuple[str, ...] = field(default=())

    def per_clip(self, metric: str) -> dict[str, float]:
        """The mean over seeds for every clip that has the metric."""
        by_clip: dict[str, list[float]] = {}
        for score in self.scores:
            if metric in score.values:
                by_clip.setdefault(score.clip, []).append(score.values[metric])
        return {clip: fmean(values) for clip, values in by_clip.items()}

    def drift(self, resamples: int, seed: int) -> list[Interval]:
        """PSNR of each part, over clips."""
        clips: dict[str, list[tuple[float, ...]]] = {}
        for score in self.scores:
            if score.parts:
                clips.setdefault(score.clip, []).append(score.parts)
        means = [[fmean(part) for part in zip(*seeds, strict=True)] for seeds in clips.values()]
        return [bootstrap_interval(part, resamples, seed) for part in zip(*means, strict=True)]

    def summary(self, resamples: int, seed: int) -> dict[str, Any]:
        """The row as JSON: means with intervals, and what they were made with."""
        metrics = {metric: self.per_clip(metric) for metric in METRICS}
        return {
            "metrics": {
                metric: vars(bootstrap_interval(list(values.values()), resamples, seed))
                for metric, values in metrics.items()
                if values
            },
            "drift_psnr": [vars(part) for part in self.drift(resamples, seed)],
            "clips": len({score.clip for score in self.scores}),
            "seeds": self.record["seeds"],
            "missing": list(self.missing),
            "seconds_per_video": fmean(s.seconds for s in self.scores) if self.scores else None,
            "command": self.record["command"],
            "fingerprint": digest(self.record["made"]),
            "made": self.record["made"],
            "recordings": self.record.get("recordings", {}),
        }


def score_row(row: CachedRow, cameras: EstimationConfig | None = None) -> RowScores:
    """Measures every existing video of a row.

    Args:
        row: the row.
        cameras: options with which the cameras cached by `inference.evaluation.camera_scores` were
            estimated; None = no camera metrics.

    Raises:
        FileNotFoundError: no row, or no estimated cameras.
        FingerprintError: a video or config that does not match the row.
        ValueError: a video whose length or size does not match the row.
    """
    row.check_config()
    record = row.record()
    scores, missing = [], []
    for clip in progress(record["clips"], f"measuring {row.path.name}"):
        target = row.read_given(clip) if row.has_given(clip) else None
        for seed in record["seeds"]:
            if target is None or not row.has_sample(clip, seed):
                missing.append(f"{clip}, seed {seed}")
                continue
            video, seconds = row.read_sample(clip, seed)
            check_shape(video, record["made"], f"{row.path}/{clip}, seed {seed}")
            camera_file = None if cameras is None else KeptCameras(row, clip, seed)
            values, parts = video_values(video, target, record["made"], camera_file, cameras)
            scores.append(Score(clip, seed, values, parts, target.seconds + seconds))
    return RowScores(record, tuple(scores), tuple(missing))


def score_truth(
    row: CachedRow, asked: Sequence[str], cameras: EstimationConfig | None = None
) -> RowScores:
    """Measures the true frames of a row's clips as if they were its videos: the upper bound.

    Args:
        row: any row of the table.
        asked: keys of `made` (or their prefixes) that belong to the clips rather than the row.
        cameras: as for `score_row`.

    Raises:
        FileNotFoundError: no row, or no estimated cameras.
        ValueError: no clip with known truth.
    """
    record = row.record()
    scores, missing = [], []
    for clip in progress(record["clips"], "measuring the truth"):
        if not row.has_given(clip):
            missing.append(f"{clip}, seed 0")
            continue
        target = row.read_given(clip)
        if target.truth is None:
            continue
        camera_file = None if cameras is None else KeptCameras(row, clip, None)
        values, parts = video_values(target.truth, target, record["made"], camera_file, cameras)
        # What this row's anchors show is irrelevant to the truth.
        values = {name: value for name, value in values.items() if comparable(name)}
        scores.append(Score(clip, 0, values, parts, 0.0))
    if not scores:
        raise ValueError(f"truth=true: row {row.path.name} has no clip with known truth")
    made = {k: v for k, v in record["made"].items() if k.split(".")[0] in asked}
    record = {
        **record,
        "command": f"none: the true frames stored in row {row.path.name}",
        "seeds": [0],
        "made": made | {"method": TRUTH},
    }
    return RowScores(record, tuple(scores), tuple(missing))
