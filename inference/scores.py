"""What one cached video is worth: numbers per video, per clip and per row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from jaxtyping import Float
from torch import Tensor

from anchorweave.datasets.fingerprint import digest
from anchorweave.evaluation.bootstrap import Interval, bootstrap_interval
from anchorweave.evaluation.image_metrics import psnr, ssim, ssim_of_parts
from anchorweave.progress import slowly
from inference.cached_row import CachedRow, Given

# Column -> what it is, in the order of the table.
METRICS = {
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
    "psnr_shown": "PSNR where the row's anchors show (dB)",
    "ssim_shown": "SSIM where the row's anchors show",
    "psnr_only_memory": "PSNR where only memory can know (dB)",
    "ssim_only_memory": "SSIM where only memory can know",
    "psnr_loop": "PSNR, last frame against first (dB)",
    "ssim_loop": "SSIM, last frame against first",
}


@dataclass(frozen=True)
class Score:
    """One video.

    Args:
        clip: of which clip.
        seed: sampled with which seed.
        values: metric -> value; metrics that the video has no pixels for are left out.
        parts: PSNR in dB of each frame after the given one (partial revisit), or of each segment
            (closed loop); empty where the truth is not known.
        seconds: to make it, retrieval included.
    """

    clip: str
    seed: int
    values: dict[str, float]
    parts: tuple[float, ...]
    seconds: float


@dataclass(frozen=True)
class RowScores:
    """All videos of a row that are there.

    Args:
        record: what the row's `row.json` says.
        scores: of the videos.
        missing: what is not there, as "clip, seed".
    """

    record: dict[str, Any]
    scores: tuple[Score, ...]
    missing: tuple[str, ...] = field(default=())

    def per_clip(self, metric: str) -> dict[str, float]:
        """The mean over its seeds of every clip that has the metric."""
        found: dict[str, list[float]] = {}
        for score in self.scores:
            if metric in score.values:
                found.setdefault(score.clip, []).append(score.values[metric])
        return {clip: fmean(values) for clip, values in found.items()}

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
        }


def score_row(row: CachedRow) -> RowScores:
    """Measure every video of a row that is there.

    Raises:
        FileNotFoundError: no row.
    """
    record = row.record()
    scores, missing = [], []
    for clip in slowly(record["clips"], f"measuring {row.path.name}"):
        given = row.read_given(clip) if row.has_given(clip) else None
        for seed in record["seeds"]:
            if given is None or not row.has_sample(clip, seed):
                missing.append(f"{clip}, seed {seed}")
                continue
            video, seconds = row.read_sample(clip, seed)
            closed = record["made"]["protocol"] == "closed_loop"
            values = _loop_values(video, given) if closed else _revisit_values(video, given)
            parts = _parts(video, given, record["made"]["frames"] - 1 if closed else 1)
            scores.append(Score(clip, seed, values, parts, given.seconds + seconds))
    return RowScores(record, tuple(scores), tuple(missing))


def _revisit_values(video: Float[Tensor, "T 3 H W"], given: Given) -> dict[str, float]:
    """Frame 0 is given to the model, so measuring starts at frame 1."""
    video, truth = video[1:], given.truth[1:]
    parts = {"": None, "_shown": given.shown[1:], "_only_memory": given.only_memory[1:]}
    values = {f"psnr{name}": psnr(video, truth, part) for name, part in parts.items()}
    similar = ssim_of_parts(video, truth, list(parts.values()))
    values |= {f"ssim{name}": value for name, value in zip(parts, similar, strict=True)}
    return {name: value for name, value in values.items() if value is not None}


def _loop_values(video: Float[Tensor, "T 3 H W"], given: Given) -> dict[str, float]:
    values = {
        "psnr_loop": psnr(video[-1], video[0]),
        "ssim_loop": ssim(video[-1:], video[:1]),
    }
    if given.truth is not None:
        values |= {"psnr": psnr(video[1:], given.truth[1:])}
        values |= {"ssim": ssim(video[1:], given.truth[1:])}
    return values


def _parts(video: Tensor, given: Given, length: int) -> tuple[float, ...]:
    """PSNR of every `length` frames after the first one."""
    if given.truth is None:
        return ()
    starts: Sequence[int] = range(1, len(video), length)
    return tuple(psnr(video[s : s + length], given.truth[s : s + length]) for s in starts)
