"""Measure cached rows and put them into one table. Never generates anything.

    python -m inference.evaluate rows=outputs/evaluation/partial_revisit
    python -m inference.evaluate 'rows=[outputs/a/closed_loop/k4,outputs/b/closed_loop/k4]'
    python -m inference.evaluate rows=outputs/evaluation/partial_revisit against=no_memory

`python -m inference.generate` makes rows. Means are over clips, after the mean over each clip's
seeds; intervals are 95 % bootstrap intervals over clips. Writes to `output`: results.json (per row
and metric mean, interval and clips; drift; what each row was made with), videos.csv (every video),
table.md and drift.png. Ends with an error when a row lacks videos.
"""

from __future__ import annotations

import csv
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from anchorweave.config import load_config
from anchorweave.datasets.fingerprint import differences
from anchorweave.evaluation.bootstrap import paired_difference
from anchorweave.evaluation.plots import interval_lines
from anchorweave.files import written_aside
from inference.cached_row import ROW, CachedRow
from inference.report import write_json
from inference.scores import METRICS, RowScores, score_row

# Rows that are set side by side have these in common; the rest is what they differ in.
SHARED = ("protocol", "frames", "size", "split", "rollout")
SHOWN_MISSING = 5


@dataclass(frozen=True)
class EvaluateConfig:
    """What is measured.

    Args:
        rows: a folder of rows, or a list of rows' own folders.
        output: the folder for the results.
        against: a row; every other row's difference from it is given clip by clip; null = none.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        ValueError: no draws.
    """

    rows: Any = "outputs/anchorweave_tiny/evaluation/partial_revisit"
    output: str = "outputs/anchorweave_tiny/evaluation/results"
    against: str | None = None
    resamples: int = 2000
    seed: int = 0

    def __post_init__(self):
        if self.resamples < 1:
            raise ValueError(f"resamples={self.resamples}: must be at least 1")


def main(words: list[str]) -> None:
    """Measure with `a.b=c` overrides."""
    config = load_config(EvaluateConfig, words)
    rows = find_rows(config.rows)
    if config.against is not None and config.against not in rows:
        raise ValueError(f"against={config.against} is none of the rows: {', '.join(rows)}")
    refuse_other_clips(rows)
    measured = {name: score_row(row) for name, row in rows.items()}
    results = {
        "command": shlex.join(["python", "-m", "inference.evaluate", *words]),
        "resamples": config.resamples,
        "seed": config.seed,
        "rows": {
            name: scores.summary(config.resamples, config.seed) for name, scores in measured.items()
        },
    }
    if config.against is not None:
        results["against"] = config.against
        results["differences"] = compare(measured, config)
    output = Path(config.output)
    output.mkdir(parents=True, exist_ok=True)
    write_json(results, output / "results.json")
    write_videos(measured, output / "videos.csv")
    text = table(results)
    with written_aside(output / "table.md") as aside:
        aside.write_text(text)
    write_drift(measured, config, output / "drift.png")
    console = Console()
    console.print(text, markup=False)
    end(measured, console, output)


def find_rows(places: str | list[str]) -> dict[str, CachedRow]:
    """Rows by name: those in a folder, or those listed.

    Raises:
        FileNotFoundError: no row there.
        ValueError: two rows of one name.
    """
    if isinstance(places, str):
        folders = [p.parent for p in sorted(Path(places).glob(f"*/{ROW}"))]
        if not folders:
            raise FileNotFoundError(
                f"rows={places}: no row in it; python -m inference.generate makes one, and "
                "rows=[FOLDER,...] lists rows themselves"
            )
    else:
        folders = [Path(place) for place in places]
    rows: dict[str, CachedRow] = {}
    for folder in folders:
        if folder.name in rows:
            raise ValueError(f"two rows are called {folder.name!r}; give one another row=")
        rows[folder.name] = CachedRow(folder)
    return rows


def refuse_other_clips(rows: Mapping[str, CachedRow]) -> None:
    """Rows that were not asked the same cannot stand in one table.

    Raises:
        ValueError: names two rows and what differs.
    """
    asked = {
        name: {k: v for k, v in row.record()["made"].items() if k.split(".")[0] in SHARED}
        for name, row in rows.items()
    }
    first = next(iter(asked))
    for name, row in rows.items():
        if row.record()["clips"] != rows[first].record()["clips"]:
            raise ValueError(
                f"rows {first} and {name} were made of other lists of clips; generate both from "
                "one source"
            )
    for name, values in asked.items():
        if differ := differences(asked[first], values):
            raise ValueError(
                f"rows {first} ('there') and {name} ('now') were not asked the same, so they "
                f"cannot stand in one table: {'; '.join(differ)}; name rows of one protocol"
            )


def compare(measured: Mapping[str, RowScores], config: EvaluateConfig) -> dict[str, dict]:
    """Every other row minus the row `against`, per metric, over the clips that both have."""
    base = measured[config.against]
    found: dict[str, dict] = {}
    for name, scores in measured.items():
        if name == config.against:
            continue
        found[name] = {}
        # What anchors show is another set of pixels in every row.
        for metric in (m for m in METRICS if not m.endswith("_shown")):
            one, other = scores.per_clip(metric), base.per_clip(metric)
            if one.keys() & other.keys():
                difference = paired_difference(one, other, config.resamples, config.seed)
                found[name][metric] = vars(difference)
    return found


def table(results: dict) -> str:
    """The results as a Markdown table: mean [low, high], a row per row."""
    rows = results["rows"]
    metrics = [m for m in METRICS if any(m in row["metrics"] for row in rows.values())]
    against = results.get("against")
    headings = ["row", *(METRICS[m] for m in metrics)]
    if against is not None:
        headings += [f"PSNR minus {against}'s (dB)"]
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


def write_videos(measured: Mapping[str, RowScores], path: Path) -> None:
    """Every number of every video, a line each."""
    with written_aside(path) as aside, aside.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "clip", "seed", *METRICS, "seconds"])
        for name, scores in measured.items():
            for score in scores.scores:
                values = [score.values.get(metric, "") for metric in METRICS]
                writer.writerow([name, score.clip, score.seed, *values, score.seconds])


def write_drift(measured: Mapping[str, RowScores], config: EvaluateConfig, path: Path) -> None:
    """PSNR over the frames of a clip, or over the segments of a loop, where the truth is known."""
    lines = {name: s.drift(config.resamples, config.seed) for name, s in measured.items()}
    lines = {name: line for name, line in lines.items() if line}
    if not lines:
        return
    protocol = next(iter(measured.values())).record["made"]["protocol"]
    part = "segment" if protocol == "closed_loop" else "frame"
    with written_aside(path) as aside:
        interval_lines(f"PSNR against the truth (dB), by {part}", part, lines).save(aside)


def end(measured: Mapping[str, RowScores], console: Console, output: Path) -> None:
    """Say what is missing, and where the results lie.

    Raises:
        SystemExit: rows that lack videos.
    """
    for name, scores in measured.items():
        if missing := scores.missing:
            more = f" and {len(missing) - SHOWN_MISSING} more" * (len(missing) > SHOWN_MISSING)
            shown = "; ".join(missing[:SHOWN_MISSING])
            console.print(f"{name} lacks {len(missing)} videos: {shown}{more}", markup=False)
    console.print(f"look at {output}/table.md, {output}/drift.png, {output}/results.json")
    if short := [name for name, scores in measured.items() if scores.missing]:
        names = ", ".join(short)
        sys.exit(f"not all videos are there of: {names}; python -m inference.generate makes them")


def _cell(interval: dict | None, sign: str = "") -> str:
    if interval is None:
        return "-"
    mean, low, high = (f"{interval[key]:{sign}.3f}" for key in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


if __name__ == "__main__":
    main(sys.argv[1:])
