"""Selects the clips of a report, and their videos: the truth, the anchors, every row."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.datasets.fingerprint import digest
from anchorweave.evaluation.coverage import coverage
from anchorweave.evaluation.report_page import Tile
from anchorweave.evaluation.vector_plots import number
from anchorweave.video import write_video
from inference.evaluation.cached_row import CachedRow
from inference.evaluation.results_folder import MeasuredRow, label
from inference.evaluation.scores import Score


def spread(values: Mapping[str, float], count: int) -> dict[str, str]:
    """`count` clips from the lowest to the highest value, evenly spaced in rank.

    Args:
        values: clip -> value.
        count: number of clips; all if there are fewer. With 1, the median.

    Returns:
        clip -> its rank as text, such as "lowest" or "rank 3 of 5".
    """
    order = sorted(values, key=lambda clip: (values[clip], clip))
    last, count = len(order) - 1, min(count, len(order))
    ranks = [last // 2] if count == 1 else np.linspace(0, last, count).astype(int).tolist()
    words = {last // 2: "the median", 0: "the lowest", last: "the highest" if last else "the only"}
    return {order[r]: words.get(r, f"rank {r + 1} of {last + 1} from the lowest") for r in ranks}


def open_measured(
    folders: Mapping[str, CachedRow], results: dict, where: str
) -> dict[str, CachedRow]:
    """The rows whose videos were measured.

    Args:
        folders: the rows that were found, by name.
        results: content of results.json.
        where: where they were looked for.

    Raises:
        FileNotFoundError: a measured row is missing.
        ValueError: a row was regenerated with other settings since.
    """
    for name, measured in results["rows"].items():
        if name not in folders:
            raise FileNotFoundError(
                f"row {name} was measured, but is not in {where}; set rows= to where its videos "
                "are, or omit videos with clips=0"
            )
        fingerprint = digest(folders[name].record()["made"])
        if fingerprint != measured["fingerprint"]:
            raise ValueError(
                f"{folders[name].path} (fingerprint {fingerprint}) does not match the measured row "
                f"{name} ({measured['fingerprint']}); measure again"
            )
    return {name: folders[name] for name in results["rows"]}


@dataclass(frozen=True)
class ClipVideos:
    """What is shown of one clip.

    Args:
        lines: the truth; then anchors, each next to the videos of the rows that use them.
        frames: number of frames; 0: no video exists.
        start: the most informative frame, 0-based; never the given one if there are others.
    """

    lines: list[list[Tile]]
    frames: int
    start: int


def clip_videos(
    clip: str,
    rows: Mapping[str, CachedRow],
    measured: Mapping[str, MeasuredRow],
    seeds: int,
    fps: int,
) -> ClipVideos:
    """Collects the videos of one clip.

    Args:
        clip: its name.
        rows: the rows with videos, by name.
        measured: the numbers of the same rows.
        seeds: number of seeds shown per row, starting from the first.
        fps: frames per second.
    """
    truth, lines, most_telling = None, {}, _MostTelling()
    for name, row in rows.items():
        target = row.read_given(clip) if row.has_given(clip) else None
        truth = target.truth if truth is None and target is not None else truth
        anchors = None if target is None else target.anchors
        # Rows without anchors share one line, placed at the first of them.
        key = None if anchors is None else anchors.numpy().tobytes()
        names, _, tiles = lines.setdefault(key, ([], target, []))
        names.append(name)
        numbers = {video.seed: video for video in measured[name].videos if video.clip == clip}
        for seed in row.record()["seeds"][:seeds]:
            video = row.read_sample(clip, seed)[0] if row.has_sample(clip, seed) else None
            tiles.append(_row_tile(row, seed, video, numbers.get(seed), fps))
            most_telling.add(video)
    lines_shown = [] if truth is None else [[_tile("truth", truth, fps)]]
    for names, target, tiles in lines.values():
        anchor_tiles = []
        if target is not None and target.anchors is not None:
            numbers = {"pixels shown": f"{coverage(target.shown):.0%}"}
            note = f"of {', '.join(names)}"
            anchor_tiles = [_tile("anchors", target.anchors, fps, numbers, note)]
            most_telling.frames = most_telling.frames or len(target.anchors)
        lines_shown.append([*anchor_tiles, *tiles])
    frames = most_telling.frames or (0 if truth is None else len(truth))
    return ClipVideos(lines_shown, frames, most_telling.frame(truth))


class _MostTelling:
    """The frame at which videos differ most from each other; a single one, from the truth."""

    def __init__(self):
        self.frames, self.count = 0, 0
        self.sum = self.squares = torch.zeros(())

    def add(self, video: Tensor | None) -> None:
        if video is not None:
            # One after another, since all videos of many rows are large.
            self.frames, self.count = len(video), self.count + 1
            self.sum, self.squares = self.sum + video, self.squares + video.square()

    def frame(self, truth: Tensor | None) -> int:
        if self.count == 0 or self.frames < 2:
            return 0
        if self.count == 1:
            # Without anything to compare with, the frame that differs most from the first.
            difference = (self.sum - (self.sum[:1] if truth is None else truth)).square()
        else:
            difference = self.squares / self.count - (self.sum / self.count).square()
        return 1 + int(difference[1:].mean(dim=(1, 2, 3)).argmax())


def _row_tile(
    row: CachedRow, seed: int, video: Tensor | None, found: Score | None, fps: int
) -> Tile:
    title = f"{row.path.name}, seed {seed}"
    if video is None:
        return Tile(title, None, (1, 1), {}, f"no video: {row.path} lacks seed {seed} of this clip")
    numbers = {} if found is None else {label(m): number(v) for m, v in found.values.items()}
    note = "" if found is not None else "not measured: no numbers in the results"
    return _tile(title, video, fps, numbers, note)


def _tile(
    name: str,
    video: Float[Tensor, "T 3 H W"],
    fps: int,
    numbers: Mapping[str, str] | None = None,
    note: str = "",
) -> Tile:
    return Tile(name, _mp4(video, fps), tuple(video.shape[-2:]), numbers or {}, note)


def _mp4(video: Float[Tensor, "T 3 H W"], fps: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        write_video(path, video, fps)
        return path.read_bytes()


def chosen_clips(
    wanted: int | Sequence[str], measured: Mapping[str, MeasuredRow], by: str, metric: str
) -> dict[str, str]:
    """Clip -> why it is shown.

    Args:
        wanted: number of clips, spread over row `by`'s `metric`; or clip names.
        measured: the rows.
        by: a row's name.
        metric: one of its metrics.

    Raises:
        ValueError: a clip that no row has.
    """
    values = measured[by].per_clip(metric)
    if isinstance(wanted, int):
        chosen = spread(values, wanted)
        return {
            clip: f"{place} of {by} by {label(metric)}: {number(values[clip])}"
            for clip, place in chosen.items()
        }
    measured_clips = {clip for row in measured.values() for clip in row.record()["clips"]}
    if unknown := [clip for clip in wanted if clip not in measured_clips]:
        raise ValueError(
            f"clips: {', '.join(unknown)} are not among the {len(measured_clips)} measured clips"
        )
    return dict.fromkeys(wanted, "selected by name")
