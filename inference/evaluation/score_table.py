"""The results of several rows side by side: differences, a Markdown table, CSV, a plot."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from anchorweave.evaluation.bootstrap import paired_difference
from anchorweave.evaluation.plots import interval_lines
from anchorweave.files import atomic_write
from inference.evaluation.protocols import rolls_out
from inference.evaluation.scores import METRICS, TRUTH, RowScores, comparable


def compare(
    measured: Mapping[str, RowScores], against: str, resamples: int, seed: int
) -> dict[str, dict]:
    """Every other row minus the baseline row `against`, per metric, over the clips both have."""
    base = measured[against]
    differences: dict[str, dict] = {}
    for name, scores in measured.items():
        if name == against:
            continue
        differences[name] = {}
        for metric in filter(comparable, METRICS):
            values, base_values = scores.per_clip(metric), base.per_clip(metric)
            if values.keys() & base_values.keys():
                difference = paired_difference(values, base_values, resamples, seed)
                differences[name][metric] = vars(difference)
    return differences


def table(results: dict) -> str:
    """The results as a Markdown table: mean [low, high], a row per row."""
    rows = results["rows"]
    metrics = [m for m in METRICS if any(m in row["metrics"] for row in rows.values())]
    against = results.get("against")
    headings = ["row", *(METRICS[m] for m in metrics)]
    if against is not None:
        headings += [f"PSNR, all pixels, minus {against}'s (dB)"]
    lines = [[*headings, "clips x seeds", "s per video"]]
    lines.append(["---"] * len(lines[0]))
    for name, row in rows.items():
        cells = [name, *(_cell(row["metrics"].get(m)) for m in metrics)]
        if against is not None:
            paired = results["differences"].get(name, {})
            cells.append(_cell(paired.get("psnr", paired.get("psnr_loop")), "+"))
        seconds = row["seconds_per_video"]
        took = "-" if seconds is None else f"{seconds:.2f}"
        lines.append([*cells, f"{row['clips']} x {len(row['seeds'])}", took])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def write_videos(measured: Mapping[str, RowScores], run: str, path: Path) -> None:
    """Writes every number of every video, one line per video, with the run id."""
    with atomic_write(path) as aside, aside.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "clip", "seed", *METRICS, "seconds", "run"])
        for name, scores in measured.items():
            for score in scores.scores:
                values = [score.values.get(metric, "") for metric in METRICS]
                writer.writerow([name, score.clip, score.seed, *values, score.seconds, run])


def write_drift(measured: Mapping[str, RowScores], resamples: int, seed: int, path: Path) -> None:
    """Plots PSNR over the frames of a clip, or the segments of a loop, where the truth is known."""
    # The truth against itself would only compress the axis.
    lines = {name: s.drift(resamples, seed) for name, s in measured.items() if name != TRUTH}
    lines = {name: line for name, line in lines.items() if line}
    if not lines:
        return
    protocol = next(iter(measured.values())).record["made"]["protocol"]
    part = "segment" if rolls_out(protocol) else "frame"
    with atomic_write(path) as aside:
        interval_lines(f"PSNR against the truth (dB), by {part}", part, lines).save(aside)


def _cell(interval: dict | None, sign: str = "") -> str:
    if interval is None:
        return "-"
    mean, low, high = (f"{interval[key]:{sign}.3f}" for key in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"
