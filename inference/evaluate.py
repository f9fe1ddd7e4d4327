"""Measure cached rows and put them into one table. Never generates anything.

    python -m inference.evaluate rows=outputs/evaluation/partial_revisit
    python -m inference.evaluate 'rows=[outputs/a/closed_loop/k4,outputs/b/closed_loop/k4]'
    python -m inference.evaluate rows=outputs/evaluation/partial_revisit against=no_memory
    python -m inference.evaluate rows=outputs/evaluation/closed_loop cameras=true truth=true

Rows are made by `python -m inference.generate`. Means are over clips, after averaging each clip's
seeds; intervals are 95 % bootstrap intervals over clips. Writes to `output`, all or none:
results.json (per row and metric: mean, interval and clips; drift; what each row was made with),
videos.csv (every video), table.md and drift.png. Results and videos carry the id of their run and
cannot be mixed with another's. Exits with an error if a row lacks videos. Estimated cameras, which
take some seconds per video, are cached next to the videos; videos for which they cannot be
estimated are counted as failed in a separate column, and errors are over the others.
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
from anchorweave.files import write_json
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

# Rows in one table have these in common and may differ in everything else.
SHARED = ("protocol", "frames", "size", "split", "rollout")
SHOWN_MISSING = 5


@dataclass(frozen=True)
class EvaluateConfig:
    """What is measured.

    Args:
        rows: a folder of rows, or a list of individual row folders.
        output: the folder for the results.
        against: a baseline row; every other row's difference to it is computed clip by clip; null =
            none.
        truth: whether to also measure the true frames, as a row `truth`: the metrics of a perfect
            video, and the error of camera estimation itself.
        cameras: whether to estimate cameras from the frames and compare them with the true ones.
        estimate: options of camera estimation.
        processes: number of parallel processes for camera estimation.
        resamples: number of bootstrap resamples.
        seed: seed of the bootstrap.

    Raises:
        ValueError: no resamples, or no process.
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
    """Measures, with the output locked.

    Args:
        config: what to measure.
        words: command-line arguments.
    """
    rows = find_rows(config.rows)
    if config.truth and TRUTH in rows:
        raise ValueError(f"truth=true adds a row {TRUTH!r}, but a row with that name exists")
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
            f"{name} stores no cameras (it was made by an earlier version): frames with the same "
            "pose are not compared",
            markup=False,
        )
    end(measured, console, output)


def measure(rows: Mapping[str, CachedRow], config: EvaluateConfig) -> dict[str, RowScores]:
    """Scores of every row, and of the true frames if requested."""
    # Any row stores the truth of the clips it has, which is the same in all rows.
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
        ValueError: no rows, or two rows with the same name.
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
            raise ValueError("rows=[] is empty; give a folder of rows, or [FOLDER,...]")
    refuse_unprintable((folder.name for folder in folders), "rows")
    rows: dict[str, CachedRow] = {}
    for folder in folders:
        if folder.name in rows:
            raise ValueError(f"two rows are called {folder.name!r}; give one another row=")
        rows[folder.name] = CachedRow(folder)
    return rows


def refuse_other_clips(rows: Mapping[str, CachedRow]) -> None:
    """Rejects rows with different evaluation settings, which are not comparable.

    Raises:
        ValueError: names two rows and what differs.
    """
    settings = {
        name: {k: v for k, v in row.record()["made"].items() if k.split(".")[0] in SHARED}
        for name, row in rows.items()
    }
    first = next(iter(settings))
    for name, row in rows.items():
        if row.record()["clips"] != rows[first].record()["clips"]:
            raise ValueError(
                f"rows {first} and {name} were made from different clips; generate both from "
                "the same source"
            )
    for name in rows:
        one, other = (rows[n].record().get("recordings", {}) for n in (first, name))
        if differ := [clip for clip in one if other.get(clip, one[clip]) != one[clip]]:
            raise ValueError(
                f"rows {first} and {name} have clips of one name from different recordings, so the "
                f"truth differs: {', '.join(differ[:SHOWN_MISSING])}; generate both from one source"
            )
    for name, values in settings.items():
        if differ := differences(settings[first], values):
            raise ValueError(
                f"rows {first} ('there') and {name} ('now') have different evaluation settings and "
                f"are not comparable: {'; '.join(differ)}; choose rows of one protocol"
            )


def keeps_no_cameras(row: CachedRow) -> bool:
    """Whether a rollout lacks the cameras needed to find frames with the same pose."""
    record = row.record()
    existing = [clip for clip in record["clips"] if row.has_given(clip)]
    loop = rolls_out(record["made"]["protocol"])
    return loop and any(row.read_given(clip).cameras is None for clip in existing[:1])


def end(measured: Mapping[str, RowScores], console: Console, output: Path) -> None:
    """Reports what is missing, and where the results are.

    Raises:
        SystemExit: rows that lack videos.
    """
    for name, scores in measured.items():
        if missing := scores.missing:
            more = f" and {len(missing) - SHOWN_MISSING} more" * (len(missing) > SHOWN_MISSING)
            examples = "; ".join(missing[:SHOWN_MISSING])
            console.print(f"{name} lacks {len(missing)} videos: {examples}{more}", markup=False)
    drawn = [output / name for name in (TABLE, DRIFT, RESULTS) if (output / name).is_file()]
    console.print(f"look at {', '.join(map(str, drawn))}", markup=False, soft_wrap=True)
    if (output / REPORT).is_file():
        console.print(
            f"{output / REPORT} still shows the previous results; update it with python -m "
            f"inference.write_report results={output}",
            markup=False,
            soft_wrap=True,
        )
    if short := [name for name, scores in measured.items() if scores.missing]:
        # A row without any video is reported separately from one that lacks some.
        empty = [name for name in short if not measured[name].scores]
        none = f" (no video at all of: {', '.join(empty)})" if empty else ""
        sys.exit(
            f"videos are missing in: {', '.join(short)}{none}; python -m inference.generate "
            "makes them"
        )


COMMAND = Command(main, EvaluateConfig)

if __name__ == "__main__":
    COMMAND.run()
