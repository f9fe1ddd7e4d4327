"""Report sections without videos: what was measured, tables, plots, provenance."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from anchorweave.evaluation.bootstrap import Interval
from anchorweave.evaluation.markup import Markup, element, joined
from anchorweave.evaluation.paired import compare_clips
from anchorweave.evaluation.report_page import Cell, code, folded, paragraph, plots, table
from anchorweave.evaluation.vector_plots import (
    interval_bars,
    interval_curves,
    number,
    sorted_differences,
)
from inference.evaluation.clip_names import readable
from inference.evaluation.protocols import rolls_out
from inference.evaluation.results_folder import MeasuredRow, in_order, label, same_makes
from inference.evaluation.scores import comparable

DRIFT = "drift_"
FIELDS = ("mean", "low", "high", "clips")


def about(results: dict[str, Any], measured: Mapping[str, MeasuredRow], command: str) -> Markup:
    """What was measured, and by which commands."""
    clips = {clip for row in measured.values() for clip in row.record()["clips"]}
    settings = {
        json.dumps({k: row.record()["made"].get(k) for k in ("protocol", "frames", "size")})
        for row in measured.values()
    }
    first = json.loads(sorted(settings)[0])
    size = "x".join(str(side) for side in first["size"])
    said = (
        f"{len(measured)} rows on {len(clips)} clips, protocol {first['protocol']}, "
        f"{first['frames']} frames of {size} pixels per video or segment. Means are over clips, "
        "after the mean over each clip's seeds; in brackets the 95 % bootstrap interval over "
        f"clips ({results['resamples']} resamples, seed {results['seed']})."
    )
    parts = [paragraph(said)]
    parts += [element("div", f"{line}.", class_="warn") for line in same_makes(measured)]
    for name, row in measured.items():
        if row.missing:
            summary = f"{name} lacks {len(row.missing)} videos; its numbers are over the rest"
            listed = element("ul", *(element("li", video) for video in row.missing))
            parts.append(element("div", folded(summary, listed), class_="warn"))
    called = readable(sorted(clips))
    lines = (clip if called[clip] == clip else f"{called[clip]}: {clip}" for clip in sorted(clips))
    listed = element("ul", *(element("li", line) for line in lines))
    parts += [
        paragraph(f"Measured by{_run(results)}, and written by:"),
        code(f"{results['command']}\n{command}"),
        folded(f"The {len(clips)} clips", listed),
    ]
    return joined(*parts)


def _run(results: dict[str, Any]) -> str:
    """The id of the evaluate run; results of earlier versions have none."""
    return f" (run {results['run']})" if "run" in results else ""


def results_section(results: dict[str, Any]) -> Markup:
    """The table of all rows and metrics, and a plot per metric."""
    rows = results["rows"]
    metrics = in_order(metric for row in rows.values() for metric in row["metrics"])
    lines = []
    for name, row in rows.items():
        seconds = row["seconds_per_video"]
        took = Cell("-") if seconds is None else Cell(f"{seconds:.2f}", value=seconds)
        seeds = len(row["seeds"])
        counts = Cell(f"{row['clips']} x {seeds}", value=row["clips"] * seeds)
        values = [_interval_cell(_interval(row["metrics"].get(m))) for m in metrics]
        lines.append([name, *values, counts, took])
    headings = ["row", *map(label, metrics), "clips x seeds", "s per video"]
    bars = [
        interval_bars(
            label(metric),
            {
                name: _interval(row["metrics"][metric])
                for name, row in rows.items()
                if metric in row["metrics"]
            },
            order=[*rows],
        )
        for metric in metrics
    ]
    return joined(table(headings, lines), plots(*bars))


def differences_section(
    results: dict[str, Any], measured: Mapping[str, MeasuredRow], against: str, metric: str
) -> Markup:
    """Every other row minus the row `against`, and clip by clip for one metric.

    Recomputed from the videos' numbers, with the results' own bootstrap settings.
    """
    base, draws = measured[against], (results["resamples"], results["seed"])
    lines, bars, sorted_plots = [], {}, []
    for name, row in measured.items():
        if name == against:
            continue
        for column in filter(comparable, row.metrics()):
            values = row.per_clip(column), base.per_clip(column)
            if not values[0].keys() & values[1].keys():
                continue
            paired = compare_clips(*values, *draws)
            counts = (paired.higher, paired.lower, paired.equal)
            cells = [Cell(str(count), value=count) for count in counts]
            lines.append([name, label(column), _interval_cell(paired.interval, "+"), *cells])
            if column == metric:
                bars[name] = paired.interval
                title = f"{name} minus {against}, {label(metric)}"
                sorted_plots.append(sorted_differences(title, paired.differences))
    said = (
        f"Each row minus {against} on the clips that both have. Pairing cancels clip difficulty, "
        "so rows can differ significantly even if their intervals overlap. Counted are clips on "
        "which the row is higher than, lower than and equal to it; whether higher is better "
        "depends on the metric. Metrics over pixels that differ by row are omitted."
    )
    headings = ["row", "metric", "difference", "higher", "lower", "equal"]
    drawn = (
        [interval_bars(f"Mean difference from {against}, {label(metric)}", bars, "+", [*measured])]
        if bars
        else []
    )
    return joined(paragraph(said), table(headings, lines), plots(*drawn, *sorted_plots))


def drift_section(results: dict[str, Any]) -> dict[str, Markup]:
    """Each row's quality over the course of a video, per drift metric; empty without any."""
    rows = results["rows"]
    kinds = dict.fromkeys(k for row in rows.values() for k in row if k.startswith(DRIFT) and row[k])
    rolled = any(rolls_out(row["made"]["protocol"]) for row in rows.values())
    across = "segment" if rolled else "frame after the given one"
    drawn = []
    for kind in kinds:
        curves = {
            name: [_interval(part) for part in row.get(kind, ())] for name, row in rows.items()
        }
        drawn.append(
            interval_curves(
                f"{label(kind[len(DRIFT) :])} against the truth, by {across}",
                across,
                {name: curve for name, curve in curves.items() if curve},
                order=[*rows],
            )
        )
    return {"Over time": plots(*drawn)} if drawn else {}


def makes_section(results: dict[str, Any], measured: Mapping[str, MeasuredRow]) -> Markup:
    """What the rows differ in, and everything that each was made with."""
    makes = {name: row.record()["made"] for name, row in measured.items()}
    keys = dict.fromkeys(key for made in makes.values() for key in made)
    words = {key: [_words(made, key) for made in makes.values()] for key in keys}
    differ = [[key, *row] for key, row in words.items() if len(set(row)) > 1]
    parts = []
    if differ:
        parts += [paragraph("What they differ in:"), table(["key", *makes], differ)]
    # All other keys are in the table.
    listed = {"metrics", "made", "command", "fingerprint", "seeds", "missing"}
    listed |= {"clips", "seconds_per_video", "recordings"}
    for name, row in results["rows"].items():
        rest = {k: v for k, v in row.items() if k not in listed and not k.startswith(DRIFT)}
        made = [[key, _words(makes[name], key)] for key in makes[name]]
        said = [f"fingerprint {row['fingerprint']}", f"seeds {', '.join(map(str, row['seeds']))}"]
        said += [f"{key.replace('_', ' ')} {json.dumps(value)}" for key, value in rest.items()]
        about_row = paragraph("; ".join(said))
        parts += [element("h3", name), code(row["command"]), about_row]
        parts.append(folded("Everything it was made with", table(["key", "value"], made)))
    return joined(*parts)


def _interval(values: dict | None) -> Interval | None:
    return None if values is None else Interval(*(values[key] for key in FIELDS))


def _interval_cell(interval: Interval | None, sign: str = "") -> Cell:
    if interval is None:
        return Cell("-")
    low, high = number(interval.low, sign), number(interval.high, sign)
    return Cell(number(interval.mean, sign), f"[{low}, {high}]", interval.mean)


def _words(made: Mapping[str, Any], key: str) -> str:
    return json.dumps(made[key], ensure_ascii=False) if key in made else "not stated"
