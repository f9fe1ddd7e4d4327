"""Reads back the results of `python -m inference.evaluate`: rows with all numbers of their videos.

    RESULTS/results.json     per row: means with intervals, drift, what it was made with
    RESULTS/videos.csv       every number of every video

Both carry the id of their evaluate run; files from two runs are rejected. results.json contains its
own checksum and one of the numbers in videos.csv, so that corruption or missing lines are rejected,
too; extra columns that are not metrics may be added to videos.csv. The set of metrics is whatever
the files contain. The videos themselves are not needed. A row without results is measured when
read.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from anchorweave.datasets.fingerprint import digest
from anchorweave.file_sets import finish_set, refuse_mixed
from inference.evaluation.cached_row import ROW, CachedRow
from inference.evaluation.clip_names import refuse_unprintable
from inference.evaluation.scores import METRICS, RowScores, Score, score_row

RESULTS, VIDEOS, TABLE, DRIFT = "results.json", "videos.csv", "table.md", "drift.png"
# Keys of results.json: checksums of its other content, and of the numbers in videos.csv.
OWN_SUM, VIDEOS_SUM = "sum", "videos_sum"
# Written next to them by `inference.write_report`.
REPORT = "report.html"


class MeasuredRow(CachedRow):
    """A row as recorded in its results; the videos in its folder are not read.

    Args:
        path: the row's folder, or what it would be called.
        record: as returned by `CachedRow.record`: made, clips, seeds, command.
        videos: the numbers of each of its videos.
        missing: videos that did not exist, as "clip, seed 0".
    """

    def __init__(
        self,
        path: str | Path,
        record: dict[str, Any],
        videos: Iterable[Score],
        missing: Iterable[str] = (),
    ):
        super().__init__(path)
        self.videos = tuple(videos)
        self.missing = tuple(missing)
        self._record = record

    def record(self) -> dict[str, Any]:
        """What the row was made with."""
        return self._record

    def metrics(self) -> list[str]:
        """Metrics that any of its videos has, in table order."""
        return in_order(metric for video in self.videos for metric in video.values)

    def per_clip(self, metric: str) -> dict[str, float]:
        """The mean over seeds for every clip that has the metric."""
        by_clip: dict[str, list[float]] = {}
        for video in self.videos:
            if metric in video.values:
                by_clip.setdefault(video.clip, []).append(video.values[metric])
        return {clip: fmean(values) for clip, values in by_clip.items()}


def in_order(metrics: Iterable[str]) -> list[str]:
    """Unique metrics in table order; unknown ones come last."""
    unique = set(metrics)
    return [m for m in METRICS if m in unique] + sorted(unique - METRICS.keys())


def label(metric: str) -> str:
    """Display name of a metric."""
    return METRICS.get(metric, metric)


def same_makes(rows: Mapping[str, CachedRow]) -> list[str]:
    """A line for each group of rows made with the same weights, settings and seeds.

    Differences between such rows are meaningless; usually one was meant to be something else.
    """
    names: dict[str, list[str]] = {}
    for name, row in rows.items():
        record = row.record()
        names.setdefault(digest([record["made"], record["seeds"]]), []).append(name)
    return [
        f"{', '.join(same[:-1])} and {same[-1]} were made with the same weights, settings and "
        "seeds: they are the same row, so differences between them are meaningless"
        for same in names.values()
        if len(same) > 1
    ]


def summed(results: dict[str, Any], measured: Mapping[str, RowScores]) -> dict[str, Any]:
    """The content of results.json, with checksums that reveal later changes to either file."""
    videos = {name: map(_as_written, scores.scores) for name, scores in measured.items()}
    results = {**results, VIDEOS_SUM: _videos_sum(videos)}
    return {**results, OWN_SUM: digest(json.loads(json.dumps(results)))}


def read_results(folder: str | Path) -> tuple[dict[str, Any], dict[str, MeasuredRow]]:
    """The content of results.json, and its rows by name with the numbers of their videos.

    Raises:
        FileNotFoundError: one of the two files is missing.
        ValueError: they were changed since evaluate wrote them, or come from different runs.
    """
    folder = Path(folder)
    finish_set(folder)
    for name in (RESULTS, VIDEOS):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder} holds no {name}; python -m inference.evaluate output={folder} makes it"
            )
    try:
        results = json.loads((folder / RESULTS).read_text())
        rows = results["rows"]
        videos, run = _read_videos(folder / VIDEOS, rows)
        measured = {name: _row(folder / name, row, videos[name]) for name, row in rows.items()}
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{folder} holds no results of inference.evaluate in this version's format "
            f"({type(error).__name__}: {error}); measure again"
        ) from error
    refuse_unprintable(measured, folder / RESULTS)
    refuse_unprintable((v.clip for row in measured.values() for v in row.videos), folder / VIDEOS)
    if any(videos.values()):
        refuse_mixed({folder / RESULTS: results.get("run"), folder / VIDEOS: run})
    for name, row in measured.items():
        clips = len({video.clip for video in row.videos})
        if clips != rows[name]["clips"]:
            raise ValueError(
                f"{folder / RESULTS} has {rows[name]['clips']} clips of row {name}, "
                f"{folder / VIDEOS} has {clips}; they come from different runs, measure again"
            )
    _refuse_changed(folder, results, videos)
    return results, measured


def _refuse_changed(folder: Path, results: dict[str, Any], videos: Mapping[str, Any]) -> None:
    """Results of earlier versions keep no sums."""
    stated = {key: value for key, value in results.items() if key != OWN_SUM}
    sums = {RESULTS: (OWN_SUM, digest(stated)), VIDEOS: (VIDEOS_SUM, _videos_sum(videos))}
    for file, (key, actual) in sums.items():
        if results.get(key, actual) != actual:
            raise ValueError(
                f"{folder / file} was changed since it was written: its checksum differs (a line "
                "is missing, or a value was changed); restore the file, or measure again"
            )


def _as_written(score: Score) -> Score:
    return replace(score, values={m: v for m, v in score.values.items() if m in METRICS})


def _videos_sum(videos: Mapping[str, Iterable[Score]]) -> str:
    """Checksum of all numbers of all videos, ignoring other columns."""
    return digest(
        [
            [row, score.clip, score.seed, _floats(score.values), float(score.seconds)]
            for row, scores in videos.items()
            for score in scores
        ]
    )


def _floats(values: Mapping[str, float]) -> dict[str, float]:
    """As they are read back."""
    return {metric: float(value) for metric, value in values.items()}


def find_run(place: str) -> dict[str, MeasuredRow]:
    """The rows at a path, by name: one, or all in a results folder.

    Raises:
        FileNotFoundError: neither a row nor results.
        ValueError: incomplete results.
    """
    folder = Path(place)
    for place in (folder, folder.parent):
        finish_set(place)
    if (folder / ROW).is_file():
        row = CachedRow(folder)
        scored, record = score_row(row), row.record()
        # Drop what results do not store of a video.
        videos = (replace(score, parts=()) for score in scored.scores)
        # The same order as in results.
        record = {**record, "clips": sorted(record["clips"])}
        return {folder.name: MeasuredRow(folder, record, videos, scored.missing)}
    if (folder / RESULTS).is_file():
        return read_results(folder)[1]
    if (folder.parent / RESULTS).is_file():
        rows = read_results(folder.parent)[1]
        if folder.name in rows:
            return {folder.name: rows[folder.name]}
        raise FileNotFoundError(
            f"{folder.parent} has no row {folder.name!r}, only {', '.join(rows)}"
        )
    raise FileNotFoundError(
        f"{folder} holds neither a row (no {ROW}) nor results (no {RESULTS}); "
        "python -m inference.generate makes rows, python -m inference.evaluate results"
    )


def _read_videos(path: Path, rows: dict[str, dict]) -> tuple[dict[str, list[Score]], str | None]:
    """Also returns the run id. Columns that are not metrics (such as remarks) are ignored."""
    metrics = list(dict.fromkeys(m for row in rows.values() for m in row["metrics"]))
    scores: dict[str, list[Score]] = {name: [] for name in rows}
    runs: set[str | None] = set()
    with path.open(newline="") as file:
        lines = csv.DictReader(file)
        # Metrics of a whole row have no column.
        metrics = [metric for metric in metrics if metric in (lines.fieldnames or ())]
        for line in lines:
            if line["row"] not in rows:
                raise ValueError(
                    f"{path}: has a row {line['row']!r}, which {path.with_name(RESULTS)} lacks; "
                    "they come from different runs, measure again"
                )
            runs.add(line.get("run"))
            try:
                values = {m: float(line[m]) for m in metrics if line[m] != ""}
                seed, seconds = int(line["seed"]), float(line["seconds"])
            except ValueError as error:
                raise ValueError(f"{path}, line {lines.line_num}: {error}") from error
            # Its parts are in results.json, as means over the row.
            scores[line["row"]].append(Score(line["clip"], seed, values, (), seconds))
    if len(runs) > 1:
        raise ValueError(f"{path} holds lines of {len(runs)} runs; measure again")
    return scores, next(iter(runs), None)


def _row(path: Path, row: dict, videos: list[Score]) -> MeasuredRow:
    lacking = [video.rsplit(", seed ", 1)[0] for video in row["missing"]]
    # Results do not store the order of the clips.
    clips = sorted({*lacking, *(video.clip for video in videos)})
    record = {key: row[key] for key in ("command", "seeds", "made")}
    # Results of earlier versions do not say.
    record["recordings"] = row.get("recordings", {})
    return MeasuredRow(path, {**record, "clips": clips}, videos, row["missing"])
