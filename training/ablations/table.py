"""A table of a paper as run by this code: its rows, printed numbers, and what makes the weights.

A table is configs/ablations/TABLE.yaml. Each row is a YAML of inference.generate: the table's
system, another one that the row names, or the system with a few changed values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anchorweave.config import as_words, load_config
from anchorweave.datasets.fingerprint import flat
from inference.evaluation.config import EvaluationConfig
from inference.evaluation.scores import METRICS

FOLDER = Path("configs/ablations")
# Output folder of rows that change values of their system; it also holds the results of all rows.
RESULTS = "outputs/anchorweave_tiny/ablations"
# Keys that say where a row is stored and which weights it has, rather than what it is.
NO_CHANGE = ("row", "output", "source", "samples", "batch", "fps")


@dataclass(frozen=True)
class TableRow:
    """One row.

    Args:
        name: its name in the table.
        what: description, one sentence.
        config: its YAML of inference.generate; null = the table's system.
        changes: dotted key -> value, differences from the system. Its videos are stored under the
            name SYSTEM_NAME.
        protocol: a YAML in configs/evaluation/protocols/; null = the table's.
        paper: column -> the number printed in the paper; omitted columns have none.
    """

    name: str = ""
    what: str = ""
    config: str | None = None
    changes: dict[str, Any] = field(default_factory=dict)
    protocol: str | None = None
    paper: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class AblationTable:
    """A table.

    Args:
        title: title.
        paper: the paper, and the table's place in it.
        theirs: data, procedure and model of the paper's measurement.
        ours: the same for ours.
        remark: anything else to know when comparing the two.
        system: the YAML of the row that all other rows modify.
        protocol: a YAML in configs/evaluation/protocols/ for generating rows; null = as the rows
            say.
        columns: the paper's column -> our metric of inference.evaluate; null = not measured here.
            For all of them higher is better.
        claims: pairs of rows of which the paper says, without numbers, that the first is better.
        against: the baseline row of inference.evaluate.
        made_by: recipe -> those of its stages, in order, that make what rows read.
        stands_on: the command that makes everything else that rows read.
        rows: in the order of the table.

    Raises:
        ValueError: no rows, duplicate names, a row without a description or with both a YAML and
            changes, or an unknown name or column.
    """

    title: str = ""
    paper: str = ""
    theirs: str = ""
    ours: str = ""
    remark: str = ""
    system: str = ""
    protocol: str | None = None
    columns: dict[str, str | None] = field(default_factory=dict)
    claims: list[list[str]] = field(default_factory=list)
    against: str | None = None
    made_by: dict[str, list[str]] = field(default_factory=dict)
    stands_on: str = "bash scripts/reproduce_tiny.sh"
    rows: list[TableRow] = field(default_factory=list)

    def __post_init__(self):
        names = [row.name for row in self.rows]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"rows are called {names}: a table has rows with different names")
        for pair in self.claims:
            if len(pair) != 2 or not set(pair) <= set(names):
                raise ValueError(f"claims name {pair}, which is no pair of the rows: {names}")
        if self.against is not None and self.against not in names:
            raise ValueError(f"against={self.against} is none of the rows: {names}")
        if unknown := {metric for metric in self.columns.values() if metric} - METRICS.keys():
            raise ValueError(f"{unknown} is none of our metrics: {', '.join(METRICS)}")
        for row in self.rows:
            if not row.what or (row.config and row.changes):
                raise ValueError(
                    f"row {row.name}: say what it is, and give it a config or changes, not both"
                )
            if unknown := row.paper.keys() - self.columns.keys():
                raise ValueError(f"row {row.name} has numbers of {unknown}, which no column is")


@dataclass(frozen=True)
class PlannedRow:
    """A row with its resolved config.

    Args:
        row: the row of the table.
        words: arguments of inference.generate.
        config: the resulting config.
        changes: dotted key -> value, differences from the system that rows modify.
    """

    row: TableRow
    words: tuple[str, ...]
    config: EvaluationConfig
    changes: dict[str, object]

    @property
    def name(self) -> str:
        """Its name in the table; its folder may have another name, shared by several tables."""
        return self.row.name

    @property
    def what(self) -> str:
        """Description, one sentence."""
        return self.row.what

    def weights(self) -> dict[str, str]:
        """Config key -> path of the weights that it generates with."""
        named = {
            f"model.{key}": getattr(self.config.model, key)
            for key in ("path", "controller", "references", "lora")
        }
        return {key: path for key, path in named.items() if path not in (None, "tiny")}

    def reads(self) -> dict[str, str]:
        """Config key -> path of everything it reads; `source` may be a description."""
        return {"source": self.config.source, **self.weights()}


def known_tables() -> list[str]:
    """The names of all tables."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_table(name: str) -> AblationTable:
    """Loads the table with that name.

    Raises:
        ValueError: no such table, or an inconsistent one.
    """
    if name not in known_tables():
        raise ValueError(f"table={name} is none of the tables: {', '.join(known_tables())}")
    return load_config(AblationTable, (), str(FOLDER / f"{name}.yaml"))


def planned_rows(
    name: str, table: AblationTable, wanted: Sequence[str], overrides: Sequence[str]
) -> list[PlannedRow]:
    """The rows of a table with their resolved configs.

    Args:
        name: name of the table.
        table: its content.
        wanted: names of rows; empty = all.
        overrides: arguments `a.b=c` for every row.

    Raises:
        ValueError: an unknown row, or arguments that would make rows identical.
    """
    names = [row.name for row in table.rows]
    for row in wanted:
        if row not in names:
            raise ValueError(f"rows=[{row}] is none of the rows of {name}: {', '.join(names)}")
    common = (f"config={table.protocol}",) if table.protocol else ()
    system = load_config(EvaluationConfig, (f"config={table.system}", *common))
    of_system = flat(system)
    planned = []
    for row in table.rows:
        words = row_words(row, table, system.row)
        config = load_config(EvaluationConfig, words)
        changes = {
            key: value
            for key, value in flat(config).items()
            if value != of_system[key] and key not in NO_CHANGE
        }
        asked = load_config(EvaluationConfig, (*words, *overrides)) if overrides else config
        planned.append(PlannedRow(row, (*words, *overrides), asked, changes))
    refuse_alike(planned, overrides)
    return [row for row in planned if not wanted or row.name in wanted]


def row_words(row: TableRow, table: AblationTable, system: str) -> tuple[str, ...]:
    """The arguments of inference.generate for a row; `system` is the name of the table's system."""
    protocol = row.protocol or table.protocol
    files = [row.config or table.system, *([protocol] if protocol else ())]
    words = [f"config={file}" for file in files]
    if row.changes:
        words += [f"row={system}_{row.name}", f"output={RESULTS}"]
    return (*words, *(f"{key}={as_words(value)}" for key, value in row.changes.items()))


def refuse_alike(rows: Sequence[PlannedRow], overrides: Sequence[str]) -> None:
    """Rejects arguments that override what rows differ in, which would make them identical.

    Raises:
        ValueError: such an argument.
    """
    differ = {"row"} | {key for row in rows for key in row.changes}
    for word in overrides:
        key = word.partition("=")[0]
        if any(other == key or other.startswith(f"{key}.") for other in differ):
            raise ValueError(f"{word}: this is what the rows of the table differ in; leave it out")
