"""Measure cached rows and put them into one table. Never generates anything.

    python -m inference.evaluate rows=outputs/evaluation/partial_revisit
    python -m inference.evaluate 'rows=[outputs/a/closed_loop/k4,outputs/b/closed_loop/k4]'
    python -m inference.evaluate rows=outputs/evaluation/partial_revisit against=no_memory
    python -m inference.evaluate rows=outputs/evaluation/closed_loop cameras=true truth=true

`python -m inference.generate` makes rows. Means are over clips, after the mean over each clip's
seeds; intervals are 95 % bootstrap intervals over clips. Writes to `output`, all or none:
results.json (per row and metric mean, interval and clips; drift; what each row was made with),
videos.csv (every video), table.md and drift.png. Results and videos bear the id of their run, and
are not read with another's. Ends with an error when a row lacks videos. Estimated cameras, which
take some seconds a video, are kept beside the videos; a video of whom none can be estimated counts
as failed in a column of its own, and the errors beside it are of the others.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from anchorweave.command import Command
from anchorweave.config import load_config
from anchorweave.datasets.fingerprint import differences
from anchorweave.evaluation.camera_estimate import EstimationConfig
from anchorweave.file_sets import new_run, written_together
from anchorweave.locks import in_use
from inference.evaluation.cached_row import ROW, CachedRow
from inference.evaluation.camera_scores import estimate_missing, kept_cameras
from inference.evaluation.clip_names import refuse_unprintable
from inference.evaluation.protocols import rolls_out
from inference.evaluation.results_folder import (
    DRIFT,
    REPORT,
    RESULTS,
    TABLE,
    VIDEOS,
    same_makes,
    summed,
)
from inference.evaluation.score_table import compare, table, write_drift, write_videos
from inference.evaluation.scores import TRUTH, RowScores, score_row, score_truth
from inference.runs.report import write_json

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
        truth: whether the true frames are measured as a further row, `truth`: what the metrics say
            of a video without fault, and the error of the estimated cameras themselves.
        cameras: whether cameras are estimated from the frames and compared with the true ones.
        estimate: how they are.
        processes: that estimate cameras at once.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        ValueError: no draws, or no process.
    """

    rows: Any = "outputs/anchorweave_tiny/evaluation/partial_revisit"
    output: str = "outputs/anchorweave_tiny/evaluation/results"
    against: str | None = None
    truth: bool = False
    cameras: bool = False
    estimate: EstimationConfig = field(default_factory=EstimationConfig)
    processes: int = 1
    resamples: int = 2000
    seed: int = 0

    def __post_init__(self):
        for name in ("resamples", "processes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: must be at least 1")


def main(words: list[str]) -> None:
    """Measure with `a.b=c` overrides."""
    config = load_config(EvaluateConfig, words)
    with in_use(config.output):
        evaluate(config, words)


def evaluate(config: EvaluateConfig, words: Sequence[str]) -> None:
    """Measure, into an output that is held.

    Args:
        config: what.
        words: of the command line.
    """
    rows = find_rows(config.rows)
    if config.truth and TRUTH in rows:
        raise ValueError(f"truth=true adds a row {TRUTH!r}, and one of the rows is called so")
    names = [*rows, TRUTH] if config.truth else list(rows)
    if config.against is not None and config.against not in names:
        raise ValueError(f"against={config.against} is none of the rows: {', '.join(names)}")
    refuse_other_clips(rows)
    measured = measure(rows, config)
    results = {
        "run": new_run(),
        "command": shlex.join(["python", "-m", "inference.evaluate", *words]),
        "resamples": config.resamples,
        "seed": config.seed,
        "rows": {
            name: scores.summary(config.resamples, config.seed) for name, scores in measured.items()
        },
    }
    if config.cameras:
        results["estimate"] = asdict(config.estimate)
    if config.against is not None:
        results["against"] = config.against
        results["differences"] = compare(measured, config.against, config.resamples, config.seed)
    same = same_makes(rows)
    output = Path(config.output)
    text = table(results) + "".join(f"\n{line}.\n" for line in same)
    with written_together(output, (RESULTS, VIDEOS, TABLE, DRIFT)) as aside:
        write_json(summed(results, measured), aside / RESULTS)
        write_videos(measured, results["run"], aside / VIDEOS)
        (aside / TABLE).write_text(text)
        write_drift(measured, config.resamples, config.seed, aside / DRIFT)
    console = Console()
    console.print(text, markup=False)
    for name in filter(lambda name: keeps_no_cameras(rows[name]), rows):
        console.print(
            f"{name} does not keep its cameras (it was made by an earlier version): frames of one "
            "pose are not compared",
            markup=False,
        )
    end(measured, console, output)


def measure(rows: Mapping[str, CachedRow], config: EvaluateConfig) -> dict[str, RowScores]:
    """Every row, and the truth of the clips where that is asked for."""
    # Any row keeps the truth of the clips that it has; they are the same in all.
    fullest = max(rows.values(), key=lambda row: sum(map(row.has_given, row.record()["clips"])))
    cameras = config.estimate if config.cameras else None
    if cameras is not None:
        videos = [video for row in rows.values() for video in kept_cameras(row)]
        videos += kept_cameras(fullest, truth=True) if config.truth else []
        estimate_missing(videos, cameras, config.processes)
    measured = {name: score_row(row, cameras) for name, row in rows.items()}
    if config.truth:
        measured[TRUTH] = score_truth(fullest, SHARED, cameras)
    return measured


def find_rows(places: str | list[str]) -> dict[str, CachedRow]:
    """Rows by name: those in a folder, or those listed.

    Raises:
        FileNotFoundError: no row there.
        ValueError: none, or two rows of one name.
    """
    if isinstance(places, str):
        folders = [p.parent for p in sorted(Path(places).glob(f"*/{ROW}"))]
        if not folders:
            raise FileNotFoundError(
                f"rows={places}: no row in it; python -m inference.generate makes one, and "
                "rows=[FOLDER,...] lists rows themselves"
            )
    elif not isinstance(places, list) or not all(isinstance(p, str) for p in places):
        raise ValueError(f"rows={places}: give a folder of rows, or [FOLDER,...]")
    else:
        folders = [Path(place) for place in places]
        if not folders:
            raise ValueError("rows=[] names none; give a folder of rows, or [FOLDER,...]")
    refuse_unprintable((folder.name for folder in folders), "rows")
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
    for name in rows:
        one, other = (rows[n].record().get("recordings", {}) for n in (first, name))
        if differ := [clip for clip in one if other.get(clip, one[clip]) != one[clip]]:
            raise ValueError(
                f"rows {first} and {name} were made of other recordings of one name, so they have "
                f"other truths: {', '.join(differ[:SHOWN_MISSING])}; generate both from one source"
            )
    for name, values in asked.items():
        if differ := differences(asked[first], values):
            raise ValueError(
                f"rows {first} ('there') and {name} ('now') were not asked the same, so they "
                f"cannot stand in one table: {'; '.join(differ)}; name rows of one protocol"
            )


def keeps_no_cameras(row: CachedRow) -> bool:
    """Whether a rollout cannot say which of its frames see from one place."""
    record = row.record()
    there = [clip for clip in record["clips"] if row.has_given(clip)]
    loop = rolls_out(record["made"]["protocol"])
    return loop and any(row.read_given(clip).cameras is None for clip in there[:1])


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
    drawn = [output / name for name in (TABLE, DRIFT, RESULTS) if (output / name).is_file()]
    console.print(f"look at {', '.join(map(str, drawn))}", markup=False, soft_wrap=True)
    if (output / REPORT).is_file():
        console.print(
            f"{output / REPORT} shows the results that were there before; python -m "
            f"inference.write_report results={output} writes it anew",
            markup=False,
            soft_wrap=True,
        )
    if short := [name for name, scores in measured.items() if scores.missing]:
        # A row that was begun and never made is another matter than one that lacks a video.
        empty = [name for name in short if not measured[name].scores]
        none = f" (no video at all of: {', '.join(empty)})" if empty else ""
        sys.exit(
            f"not all videos are there of: {', '.join(short)}{none}; python -m inference.generate "
            "makes them"
        )


COMMAND = Command(main, EvaluateConfig)

if __name__ == "__main__":
    COMMAND.run()
