"""A paper's table as run by this code: its rows, the paper's numbers, and how to make weights.

A table is configs/ablations/TABLE.yaml. Each row is a YAML of inference.generate: the table's
system, another one named by the row, or the system with a few changed values.
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
# Folders of rows that change values of their system, and of the measurements of all.
RESULTS = "outputs/anchorweave_tiny/ablations"
# Options for a row's location and weights, which do not define it.
NO_CHANGE = ("row", "output", "source", "samples", "batch", "fps")


@dataclass(frozen=True)
class TableRow:
    """One row.

    Args:
        name: its name in the table.
        what: a one-sentence description.
        config: its YAML of inference.generate; null = the table's system.
        changes: dotted key -> value, differences from the system. Its videos are stored under the
            name SYSTEM_NAME.
        protocol: a YAML of configs/evaluation/protocols/; null = the table's.
        paper: column -> the paper's number; columns without a number are omitted.
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
        title: its subject.
        paper: which paper, and where in it.
        theirs: the data, protocol and model of the paper's measurements.
        ours: likewise for our measurements.
        remark: anything else to know when comparing the two.
        system: the YAML of the row that all rows change something in.
        protocol: a YAML of configs/evaluation/protocols/ for generating rows; null = as the
            rows specify.
        columns: the paper's column -> the corresponding metric of inference.evaluate; null
            = not measured by us. Higher is better in all that are.
        claims: pairs of rows of which the paper states without numbers that the first is better.
        against: the row that inference.evaluate computes differences from.
        made_by: recipe -> those of its stages, in order, that make the rows' weights.
        stands_on: the command that makes everything else rows read.
        rows: in the order of the table.

    Raises:
        ValueError: no rows, duplicate names, a row without a description or with both a YAML
            and changes, or an unknown name or column.
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
            raise ValueError(f"rows are named {names}: a table needs rows with unique names")
        for pair in self.claims:
            if len(pair) != 2 or not set(pair) <= set(names):
                raise ValueError(f"claims name {pair}, which is not a pair of the rows: {names}")
        if self.against is not None and self.against not in names:
            raise ValueError(f"against={self.against} is not one of the rows: {names}")
        if unknown := {metric for metric in self.columns.values() if metric} - METRICS.keys():
            raise ValueError(f"{unknown} is not one of our metrics: {', '.join(METRICS)}")
        for row in self.rows:
            if not row.what or (row.config and row.changes):
                raise ValueError(
                    f"row {row.name}: describe it in `what`; give it a config or changes, not both"
                )
            if unknown := row.paper.keys() - self.columns.keys():
                raise ValueError(f"row {row.name} has numbers of {unknown}, which is not a column")


@dataclass(frozen=True)
class PlannedRow:
    """A row as requested.

    Args:
        row: the row of the table.
        words: options of inference.generate.
        config: the resulting config.
        changes: dotted key -> value, differences from the system that rows change.
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
        """A one-sentence description."""
        return self.row.what

    def weights(self) -> dict[str, str]:
        """Config key -> path of the weights it generates with."""
        named = {
            f"model.{key}": getattr(self.config.model, key)
            for key in ("path", "controller", "references", "lora")
        }
        return {key: path for key, path in named.items() if path not in (None, "tiny")}

    def reads(self) -> dict[str, str]:
        """Config key -> path of all its inputs; `source` may be words that are not a path."""
        return {"source": self.config.source, **self.weights()}


def known_tables() -> list[str]:
    """The names of all tables."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_table(name: str) -> AblationTable:
    """The table with that name.

    Raises:
        ValueError: no such table, or an invalid one.
    """
    if name not in known_tables():
        raise ValueError(f"table={name} is not one of the tables: {', '.join(known_tables())}")
    return load_config(AblationTable, (), str(FOLDER / f"{name}.yaml"))


def planned_rows(
    name: str, table: AblationTable, wanted: Sequence[str], overrides: Sequence[str]
) -> list[PlannedRow]:
    """The rows of a table as they are to be generated.

    Args:
        name: name of the table.
        table: its contents.
        wanted: names of rows; none = all.
        overrides: words `a.b=c` for every row.

    Raises:
        ValueError: an unknown row, or overrides that would make rows identical.
    """
    names = [row.name for row in table.rows]
    for row in wanted:
        if row not in names:
            raise ValueError(f"rows=[{row}] is not one of the rows of {name}: {', '.join(names)}")
    common = (f"config={table.protocol}",) if table.protocol else ()
    system = load_config(EvaluationConfig, (f"config={table.system}", *common))
    planned = []
    for row in table.rows:
        words = row_words(row, table, system.row)
        config = load_config(EvaluationConfig, words)
        changes = {
            key: value
            for key, value in flat(config).items()
            if value != flat(system)[key] and key not in NO_CHANGE
        }
        asked = load_config(EvaluationConfig, (*words, *overrides)) if overrides else config
        planned.append(PlannedRow(row, (*words, *overrides), asked, changes))
    refuse_alike(planned, overrides)
    return [row for row in planned if not wanted or row.name in wanted]


def row_words(row: TableRow, table: AblationTable, system: str) -> tuple[str, ...]:
    """The words of inference.generate for a row; `system` is the name of the table's system."""
    protocol = row.protocol or table.protocol
    files = [row.config or table.system, *([protocol] if protocol else ())]
    words = [f"config={file}" for file in files]
    if row.changes:
        words += [f"row={system}_{row.name}", f"output={RESULTS}"]
    return (*words, *(f"{key}={as_words(value)}" for key, value in row.changes.items()))


def refuse_alike(rows: Sequence[PlannedRow], overrides: Sequence[str]) -> None:
    """Refuses overrides of values in which rows differ, which would make them identical.

    Raises:
        ValueError: there is such an override.
    """
    differ = {"row"} | {key for row in rows for key in row.changes}
    for word in overrides:
        key = word.partition("=")[0]
        if any(other == key or other.startswith(f"{key}.") for other in differ):
            raise ValueError(f"{word}: the rows of the table differ in this value; leave it out")
