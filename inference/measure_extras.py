"""Measure cached rows by optional metrics: LPIPS, ST-LPIPS, FID, FVD, VBench, match accuracy.

    python -m inference.measure_extras rows=outputs/evaluation/partial_revisit metrics=[lpips,fid]
    python -m inference.measure_extras rows=outputs/evaluation/closed_loop
    python -m inference.measure_extras rows=[outputs/a/closed_loop/k4] metrics=[match_accuracy]

Never generates and never downloads: each metric needs packages (requirements-eval.txt) or files
(pretrained/README.md); if they are missing, one line says what to do and the other metrics are
still measured. Means of per-video metrics are over clips, after averaging each clip's seeds, with
95 % bootstrap intervals over clips. Writes `output`/extras.json after each metric; metrics that
failed or have not run yet are marked "not measured: ...". Exits with an error if none was measured.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table

from anchorweave.command import Command
from anchorweave.config import load_config
from anchorweave.datasets.fingerprint import digest
from anchorweave.evaluation.bootstrap import bootstrap_interval
from anchorweave.evaluation.perceptual.feature_sets import SetDistance
from anchorweave.evaluation.perceptual.optional_metrics import (
    OPTIONAL_METRICS,
    Measure,
    OptionalMetric,
    PerceptualConfig,
    chosen_metrics,
)
from anchorweave.evaluation.perceptual.samples import NotMeasuredError, PerVideo, Sample
from anchorweave.files import write_json
from anchorweave.locks import in_use
from anchorweave.progress import progress
from inference.evaluate import find_rows, refuse_other_clips
from inference.evaluation.cached_row import CachedRow
from inference.evaluation.protocols import rolls_out
from inference.evaluation.video_scores import comes_back

NOT_MEASURED = "not measured: "
NOT_YET = f"{NOT_MEASURED}not reached yet, or the run was interrupted; measure again"
# Descriptive fields of a metric.
TOLD = ("what", "needs", "kind")


@dataclass(frozen=True)
class ExtrasConfig:
    """What is measured.

    Args:
        rows: a folder of rows, or a list of individual row folders.
        metrics: which metrics; default: all.
        output: the folder for extras.json.
        resamples: number of bootstrap resamples.
        seed: seed of the bootstrap.
        perceptual: options of the metrics.

    Raises:
        ValueError: no metrics, an unknown one, or no resamples.
    """

    rows: Any = "outputs/anchorweave_tiny/evaluation/partial_revisit"
    metrics: list[str] = field(default_factory=lambda: list(OPTIONAL_METRICS))
    output: str = "outputs/anchorweave_tiny/evaluation/extras"
    resamples: int = 2000
    seed: int = 0
    perceptual: PerceptualConfig = field(default_factory=PerceptualConfig)

    def __post_init__(self):
        chosen_metrics(self.metrics)
        if self.resamples < 1:
            raise ValueError(f"resamples={self.resamples}: must be at least 1")


def main(words: list[str]) -> None:
    """Measure with `a.b=c` overrides."""
    config = load_config(ExtrasConfig, words)
    with in_use(config.output):
        measure_rows(config, words)


def measure_rows(config: ExtrasConfig, words: Sequence[str]) -> None:
    """Measures, with the output locked.

    Args:
        config: what to measure.
        words: command-line arguments.
    """
    metrics = chosen_metrics(config.metrics)
    rows = find_rows(config.rows)
    refuse_other_clips(rows)
    console = Console()
    results = {
        "command": shlex.join(["python", "-m", "inference.measure_extras", *words]),
        "resamples": config.resamples,
        "seed": config.seed,
        "perceptual": asdict(config.perceptual),
        "metrics": {n: {k: getattr(m, k) for k in TOLD} for n, m in metrics.items()},
        "rows": {name: describe(row, metrics) for name, row in rows.items()},
    }
    output = Path(config.output)
    for name, metric in metrics.items():
        measured = measure(name, metric, rows, config, console)
        for row, values in measured.items():
            results["rows"][row]["metrics"][name] = values
        # After each metric, because some take hours, and the next may fail.
        write_json(results, output / "extras.json")
    console.print(table(results["rows"], metrics))
    for name, row in results["rows"].items():
        if row["missing"]:
            console.print(f"{name} lacks {len(row['missing'])} videos", markup=False)
    console.print(f"look at {output}/extras.json", markup=False)
    results_ = [v for row in results["rows"].values() for v in row["metrics"].values()]
    if all(isinstance(value, str) for value in results_):
        sys.exit(f"none of {', '.join(metrics)} could be measured; the lines above say why")


def describe(row: CachedRow, metrics: Iterable[str]) -> dict[str, Any]:
    """The header of a row's results; `metrics` are filled in later."""
    record = row.record()
    videos = [(clip, seed) for clip in record["clips"] for seed in record["seeds"]]
    return {
        "metrics": dict.fromkeys(metrics, NOT_YET),
        "clips": len(record["clips"]),
        "seeds": record["seeds"],
        "missing": [f"{clip}, seed {seed}" for clip, seed in videos if not _there(row, clip, seed)],
        "command": record["command"],
        "fingerprint": digest(record["made"]),
    }


def samples(row: CachedRow, what: str) -> Iterator[Sample]:
    """A row's videos, one after another; missing ones are skipped."""
    record = row.record()
    loop = rolls_out(record["made"]["protocol"])
    for clip in progress(record["clips"], what):
        seeds = [seed for seed in record["seeds"] if _there(row, clip, seed)]
        if not seeds:
            continue
        target = row.read_given(clip)
        returns = loop and comes_back(target)
        for seed in seeds:
            yield Sample(clip, seed, row.read_sample(clip, seed)[0], target.truth, returns)


def measure(
    name: str,
    metric: OptionalMetric,
    rows: Mapping[str, CachedRow],
    config: ExtrasConfig,
    console: Console,
) -> dict[str, Any]:
    """Row -> the metric's result as JSON; a text if it could not be measured."""
    try:
        loaded = metric.load(config.perceptual)
    except NotMeasuredError as error:
        console.print(f"{name}: {NOT_MEASURED}{error}", markup=False, soft_wrap=True)
        return dict.fromkeys(rows, f"{NOT_MEASURED}{error}")
    results: dict[str, Any] = {}
    for row, cached in rows.items():
        try:
            results[row] = _measure_row(name, loaded, cached, config)
        except NotMeasuredError as error:
            results[row] = f"{NOT_MEASURED}{error}"
            console.print(f"{name} of {row}: {results[row]}", markup=False, soft_wrap=True)
            continue
        if warning := results[row].get("warning"):
            console.print(f"{name} of {row}: {warning}", markup=False, soft_wrap=True)
    return results


def _measure_row(
    name: str, loaded: Measure, cached: CachedRow, config: ExtrasConfig
) -> dict[str, Any]:
    record = cached.record()
    if not any(_there(cached, clip, s) for clip in record["clips"] for s in record["seeds"]):
        raise NotMeasuredError("the row has no videos; python -m inference.generate makes them")
    values = loaded(samples(cached, f"{name} of {cached.path.name}"))
    if isinstance(values, SetDistance):
        return {**vars(values), "warning": values.warning}
    columns = dict.fromkeys(column for video in values.values() for column in video)
    if not columns:
        raise NotMeasuredError("none of its videos has the reference that this metric needs")
    means = {
        column: vars(bootstrap_interval(_per_clip(values, column), config.resamples, config.seed))
        for column in columns
    }
    videos = [{"clip": clip, "seed": seed, **v} for (clip, seed), v in values.items()]
    return {"means": means, "videos": videos}


def _there(row: CachedRow, clip: str, seed: int) -> bool:
    return row.has_given(clip) and row.has_sample(clip, seed)


def _per_clip(values: PerVideo, column: str) -> list[float]:
    """The mean over seeds for every clip that has the column."""
    clips: dict[str, list[float]] = {}
    for (clip, _), video in values.items():
        if column in video:
            clips.setdefault(clip, []).append(video[column])
    return [fmean(seeds) for seeds in clips.values()]


def table(rows: Mapping[str, dict], metrics: Mapping[str, OptionalMetric]) -> Table:
    """One line per value, one column per row: mean [low, high], or a distance."""
    columns = Table("metric", *rows)
    for name, metric in metrics.items():
        for column, heading in metric.columns.items():
            cells = [_cell(row["metrics"][name], column) for row in rows.values()]
            columns.add_row(heading, *cells)
    return columns


def _cell(values: dict | str, column: str) -> str:
    if isinstance(values, str):
        return "not measured"
    if "distance" in values:
        return f"{values['distance']:.2f}{' (few)' if values['warning'] else ''}"
    if column not in values["means"]:
        return "-"
    mean, low, high = (f"{values['means'][column][key]:.3f}" for key in ("mean", "low", "high"))
    return rf"{mean} \[{low}, {high}]"


COMMAND = Command(main, ExtrasConfig)

if __name__ == "__main__":
    COMMAND.run()
