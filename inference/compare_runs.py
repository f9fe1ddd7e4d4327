"""Compare two runs clip by clip. Never generates anything.

    python -m inference.compare_runs one=outputs/e/closed_loop/k4 other=outputs/e/closed_loop/k1
    python -m inference.compare_runs one=results/k4 other=results/k1
    python -m inference.compare_runs one=results_before other=results_after

A run is a folder written by `python -m inference.generate` (a row, measured now), a folder written
by `python -m inference.evaluate` (for two of these, rows with the same name are compared), or one
row in it, RESULTS/ROW. Per metric, prints the mean of one minus other with its 95 % bootstrap
interval over clips, on how many clips one is higher, and where they differ most; whether higher is
better depends on the metric. Writes to `output`: comparison.json and clips.csv (every clip). Runs
with different evaluation settings are an error.
"""

from __future__ import annotations

import csv
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from anchorweave.command import Command
from anchorweave.config import load_config
from anchorweave.datasets.fingerprint import digest
from anchorweave.evaluation.paired import PairedClips, compare_clips
from anchorweave.evaluation.vector_plots import number
from anchorweave.file_sets import written_together
from anchorweave.files import write_json
from anchorweave.locks import in_use
from inference.evaluate import SHOWN_MISSING, refuse_other_clips
from inference.evaluation.clip_names import readable
from inference.evaluation.results_folder import MeasuredRow, find_run, label
from inference.evaluation.scores import comparable


@dataclass(frozen=True)
class CompareRunsConfig:
    """What is compared.

    Args:
        one: a run.
        other: the run to subtract from it.
        output: the folder for the comparison.
        most: number of clips listed, of those where the two differ most.
        resamples: number of bootstrap resamples.
        seed: seed of the bootstrap.

    Raises:
        ValueError: a run is not named, or a number out of range.
    """

    one: str = ""
    other: str = ""
    output: str = "outputs/anchorweave_tiny/evaluation/comparison"
    most: int = 5
    resamples: int = 2000
    seed: int = 0

    def __post_init__(self):
        if not self.one or not self.other:
            raise ValueError("name two runs: one=FOLDER other=FOLDER")
        if self.most < 0:
            raise ValueError(f"most={self.most}: must be at least 0")
        if self.resamples < 1:
            raise ValueError(f"resamples={self.resamples}: must be at least 1")


def main(words: list[str]) -> None:
    """Compare with `a.b=c` overrides."""
    config = load_config(CompareRunsConfig, words)
    with in_use(config.output):
        compare_runs(config, words)


def compare_runs(config: CompareRunsConfig, words: Sequence[str]) -> None:
    """Compares, with the output locked.

    Args:
        config: what to compare.
        words: command-line arguments.
    """
    one, other = find_run(config.one), find_run(config.other)
    pairs = {name: compare(*pair, config) for name, pair in pair_up(one, other).items()}
    output = Path(config.output)
    results = {
        "command": shlex.join(["python", "-m", "inference.compare_runs", *words]),
        "resamples": config.resamples,
        "seed": config.seed,
        "pairs": {name: _as_json(pair, config.most) for name, pair in pairs.items()},
    }
    with written_together(output, ("comparison.json", "clips.csv")) as aside:
        write_json(results, aside / "comparison.json")
        write_clips(pairs, aside / "clips.csv")
    console = Console()
    for name, pair in pairs.items():
        print_pair(console, name, pair, config.most)
    # Only when whole folders are compared can rows lack a counterpart.
    if alone := sorted(one.keys() ^ other.keys()) if len(one) > 1 or len(other) > 1 else []:
        console.print(f"only in one of the two, not compared: {', '.join(alone)}", markup=False)
    console.print(f"look at {output}/comparison.json, {output}/clips.csv", markup=False)


@dataclass(frozen=True)
class Pair:
    """Two rows and the results of their comparison, by metric."""

    one: MeasuredRow
    other: MeasuredRow
    metrics: dict[str, PairedClips]

    @property
    def unpaired(self) -> list[str]:
        """Metrics that only one of the two has."""
        return sorted(set(self.one.metrics()) ^ set(self.other.metrics()))

    def sides(self) -> dict[str, MeasuredRow]:
        """The two rows by their names on the command line."""
        return {"one": self.one, "other": self.other}


def pair_up(
    one: dict[str, MeasuredRow], other: dict[str, MeasuredRow]
) -> dict[str, tuple[MeasuredRow, MeasuredRow]]:
    """The pairs of rows to compare, by name.

    Raises:
        ValueError: it is ambiguous which rows to compare, or no names match.
    """
    if len(one) == len(other) == 1:
        (first, a), (second, b) = next(iter(one.items())), next(iter(other.items()))
        if first == second:
            first, second = str(a.path), str(b.path)
        return {f"{first} minus {second}": (a, b)}
    shared = [name for name in one if name in other]
    if 1 in (len(one), len(other)) or not shared:
        raise ValueError(
            f"one has {', '.join(one)}; other has {', '.join(other)}: use RESULTS/ROW for each "
            "to choose the two rows to compare"
        )
    return {name: (one[name], other[name]) for name in shared}


def compare(one: MeasuredRow, other: MeasuredRow, config: CompareRunsConfig) -> Pair:
    """One minus other for every metric that both have on some clip.

    Raises:
        ValueError: different evaluation settings, or no metric in common on any clip.
    """
    refuse_other_clips({"one": one, "other": other})
    results = {}
    for metric in filter(comparable, one.metrics()):
        values = one.per_clip(metric), other.per_clip(metric)
        if values[0].keys() & values[1].keys():
            results[metric] = compare_clips(*values, config.resamples, config.seed)
    if not results:
        raise ValueError(f"{one.path} and {other.path} have no metric in common on any clip")
    return Pair(one, other, results)


def write_clips(pairs: dict[str, Pair], path: Path) -> None:
    """One line per pair, metric and clip, largest difference first."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["pair", "metric", "clip", "one", "other", "difference"])
        for name, pair in pairs.items():
            for metric, paired in pair.metrics.items():
                values = pair.one.per_clip(metric), pair.other.per_clip(metric)
                for clip, difference in paired.differences.items():
                    writer.writerow([name, metric, clip, *(v[clip] for v in values), difference])


def print_pair(console: Console, name: str, pair: Pair, most: int) -> None:
    """Tables of one pair."""
    table = Table(title=escape(name), title_justify="left")
    for heading in ("metric", "difference [95 %]", "higher", "lower", "equal", "clips"):
        table.add_column(heading)
    for metric, paired in pair.metrics.items():
        i = paired.interval
        mean = f"{number(i.mean, '+')} [{number(i.low, '+')}, {number(i.high, '+')}]"
        counts = (paired.higher, paired.lower, paired.equal, i.clips)
        table.add_row(label(metric), mean, *map(str, counts))
    console.print(table)
    called = readable(clip for row in pair.sides().values() for clip in row.record()["clips"])
    for metric, paired in pair.metrics.items() if most else ():
        console.print(f"{label(metric)}, where they differ most:", markup=False)
        for clip, value in list(paired.differences.items())[:most]:
            console.print(f"  {number(value, '+')} {called[clip]}", markup=False, soft_wrap=True)
    if pair.unpaired:
        names = ", ".join(pair.unpaired)
        console.print(f"metrics that only one has, not compared: {names}", markup=False)
    for side, row in pair.sides().items():
        if missing := row.missing:
            examples = "; ".join(
                [*missing[:SHOWN_MISSING], *["..."][: len(missing) > SHOWN_MISSING]]
            )
            console.print(f"{side} lacks {len(missing)} videos: {examples}", markup=False)


def _as_json(pair: Pair, most: int) -> dict[str, Any]:
    one, other = pair.one.record(), pair.other.record()
    sides = {
        side: {
            "folder": str(row.path),
            "command": row.record()["command"],
            "seeds": row.record()["seeds"],
            "fingerprint": digest(row.record()["made"]),
            "missing": list(row.missing),
        }
        for side, row in pair.sides().items()
    }
    metrics = {
        metric: {
            **vars(paired.interval),
            "higher": paired.higher,
            "lower": paired.lower,
            "equal": paired.equal,
            "most": dict(list(paired.differences.items())[:most]),
        }
        for metric, paired in pair.metrics.items()
    }
    made = one["made"], other["made"]
    differ = {
        key: [side.get(key, "not stated") for side in made]
        for key in sorted(made[0].keys() | made[1].keys())
        if key not in made[0] or key not in made[1] or made[0][key] != made[1][key]
    }
    return {
        **sides,
        "made_differently": differ,
        "metrics_of_one_only": pair.unpaired,
        "metrics": metrics,
    }


COMMAND = Command(main, CompareRunsConfig)

if __name__ == "__main__":
    COMMAND.run()
