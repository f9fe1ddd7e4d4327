r"""Runs one table of a paper: trains what its rows need, generates, and compares with the paper.

    python -m training.ablate table=anchorweave_table3
    python -m training.ablate table=spatia_table4 dry_run=true        # lists the commands
    python -m training.ablate table=spatia_table7 'rows=[voxel_1_cm,voxel_7_cm]'
    python -m training.ablate table=anchorweave_table3 model.path=pretrained/anchorweave-tiny \
        source=procedural:seed=910000,frames=49,lap=480,size=128x192 samples=1 output=outputs/look

Tables are files in configs/ablations/. Words that are not options of this command are passed to
inference.generate for every row; if they change the videos, an `output` of their own is required.
Run again, it does only what is missing: training continues with the recipe that the table names,
whose folder records the progress, and rows are cached. Writes to TABLE/ in `results`:
beside_paper.md, beside_paper.json, and measured/, the output of inference.evaluate.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from anchorweave.command import Command
from anchorweave.config import load_config
from inference import evaluate, generate
from inference.evaluation.results_folder import read_results
from training.ablations.beside_paper import as_markdown, write_beside_paper
from training.ablations.order import compare_column
from training.ablations.table import (
    RESULTS,
    AblationTable,
    PlannedRow,
    load_table,
    planned_rows,
)
from training.ablations.weights import lacking_stages, refuse_without_weights, run_stages
from training.recipe import Stage

# Options that do not change the videos of a row.
SAME_VIDEOS = ("output", "batch", "fps", "model.device", "model.offload", "model.tile_vae")
OWN_WORDS = {"a.b=c": "any option of inference.generate, for every row"}


@dataclass(frozen=True)
class AblateConfig:
    """Which table to run.

    Args:
        table: a file of configs/ablations/, without .yaml.
        rows: rows to run; none = all.
        dry_run: only list the commands.
        results: parent folder of the table's results; null = the `output` among the options for
            rows, or else outputs/anchorweave_tiny/ablations.
        resamples: number of bootstrap resamples.
    """

    table: str = ""
    rows: list[str] = field(default_factory=list)
    dry_run: bool = False
    results: str | None = None
    resamples: int = 2000


def main(words: list[str]) -> None:
    """Runs a table; words that are not options of AblateConfig go to inference.generate."""
    options = {option.name for option in fields(AblateConfig)}
    own = [word for word in words if word.partition("=")[0] in options]
    overrides = [word for word in words if word not in own]
    config = load_config(AblateConfig, own)
    table = load_table(config.table)
    output = own_output(overrides)
    rows = planned_rows(config.table, table, config.rows, overrides)
    work = lacking_stages(table, rows)
    folder = Path(config.results or output or RESULTS) / config.table
    if config.dry_run:
        print("\n".join(commands(table, rows, work, folder, config)))
        return
    refuse_without_weights(rows, table, work)
    for recipe, stages in work.items():
        run_stages(recipe, stages)
    refuse_without_weights(rows, table, {})
    for row in rows:
        generate.main(list(row.words))
    measured = measure(table, rows, folder, config)
    columns = [
        compare_column(
            name,
            metric,
            {row.name: measured[row.name].get(metric, {}) for row in rows},
            {row.name: row.row.paper[name] for row in rows if name in row.row.paper},
            [pair for pair in table.claims if set(pair) <= measured.keys()],
            config.resamples,
        )
        for name, metric in table.columns.items()
        if metric is not None
    ]
    command = shlex.join(["python", "-m", "training.ablate", *words])
    write_beside_paper(folder, command, table, rows, columns)
    print(as_markdown(table, rows, columns))
    print(f"see {folder}/beside_paper.md, {folder}/beside_paper.json, {folder}/measured")


def own_output(overrides: Sequence[str]) -> str | None:
    """The `output` among the options for rows.

    Raises:
        ValueError: options that change the videos of rows, without a separate output.
    """
    outputs = [word.partition("=")[2] for word in overrides if word.startswith("output=")]
    asked = [word for word in overrides if "=" in word]
    others = [word for word in asked if word.partition("=")[0] not in SAME_VIDEOS]
    if others and not outputs:
        raise ValueError(
            f"{' '.join(others)}: changes the table's videos; give them a separate "
            "folder, output=outputs/mine"
        )
    return outputs[-1] if outputs else None


def groups(rows: Sequence[PlannedRow], folder: Path) -> dict[Path, list[PlannedRow]]:
    """Results folder -> rows that are measured together, because they have the same requests."""
    groups: dict[Path, list[PlannedRow]] = {}
    for row in rows:
        groups.setdefault(folder / "measured" / row.config.folder.parent.name, []).append(row)
    return groups


def evaluate_words(
    table: AblationTable, rows: Sequence[PlannedRow], output: Path, config: AblateConfig
) -> list[str]:
    """Options of inference.evaluate for rows with the same requests."""
    places = ",".join(str(row.config.folder) for row in rows)
    words = [f"rows=[{places}]", f"output={output}", f"resamples={config.resamples}"]
    against = []
    if len(rows) > 1:
        against = [row.config.folder.name for row in rows if row.name == table.against]
    return [*words, *(f"against={name}" for name in against)]


def measure(
    table: AblationTable, rows: Sequence[PlannedRow], folder: Path, config: AblateConfig
) -> dict[str, dict[str, dict[str, float]]]:
    """Row -> metric -> clip -> value."""
    measured = {}
    for output, together in groups(rows, folder).items():
        evaluate.main(evaluate_words(table, together, output, config))
        row_results = read_results(output)[1]
        for row in together:
            row_scores = row_results[row.config.folder.name]
            measured[row.name] = {
                metric: row_scores.per_clip(metric) for metric in row_scores.metrics()
            }
    return measured


def commands(
    table: AblationTable,
    rows: Sequence[PlannedRow],
    work: dict[str, list[Stage]],
    folder: Path,
    config: AblateConfig,
) -> list[str]:
    """All commands that would be run, one per line."""
    lines = []
    try:
        refuse_without_weights(rows, table, work)
    except FileNotFoundError as error:
        lines.append(f"# first: {error}")
    stages = [stage for stages in work.values() for stage in stages]
    lines += [shlex.join(["python", *stage.command()]) for stage in stages]
    lines += [shlex.join(["python", "-m", "inference.generate", *row.words]) for row in rows]
    for output, together in groups(rows, folder).items():
        words = evaluate_words(table, together, output, config)
        lines.append(shlex.join(["python", "-m", "inference.evaluate", *words]))
    return lines


COMMAND = Command(main, AblateConfig, also=OWN_WORDS)

if __name__ == "__main__":
    COMMAND.run()
