"""Our results next to the paper's table, as Markdown and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from anchorweave.evaluation.bootstrap import Interval
from anchorweave.file_sets import written_together
from anchorweave.files import write_json
from training.ablations.order import Column
from training.ablations.table import AblationTable, PlannedRow


def as_markdown(table: AblationTable, rows: Sequence[PlannedRow], columns: Sequence[Column]) -> str:
    """The table, how both sides were measured, and whether the order matches the paper's."""
    measured = {column.name: column for column in columns}
    headings = ["row", "what"]
    for name in table.columns:
        if name in measured:
            headings.append(f"ours: {measured[name].metric}")
        headings.append(f"paper: {name}")
    lines = [headings, ["---"] * len(headings)]
    for row in rows:
        cells = [row.name, row.what]
        for name in table.columns:
            if name in measured:
                cells.append(_interval(measured[name].ours.get(row.name)))
            cells.append(f"{row.row.paper[name]:g}" if name in row.row.paper else "-")
        lines.append(cells)
    clips = {i.clips for column in columns for i in column.ours.values()}
    counted = " or ".join(str(count) for count in sorted(clips)) or "no"
    parts = [
        f"# {table.title}: {table.paper}",
        f"Theirs: {table.theirs}. Ours: {table.ours}; mean and 95 % bootstrap interval over "
        f"{counted} clips. Numbers of the two are not comparable, their order is.",
        "\n".join(f"| {' | '.join(line)} |" for line in lines),
        *(column.statement() for column in columns),
        table.remark,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def write_beside_paper(
    folder: Path,
    command: str,
    table: AblationTable,
    rows: Sequence[PlannedRow],
    columns: Sequence[Column],
) -> None:
    """Writes beside_paper.md and beside_paper.json to an existing folder."""
    about = {key: getattr(table, key) for key in ("title", "paper", "theirs", "ours", "remark")}
    values = {
        "command": command,
        **about,
        "columns": {column.name: _as_json(column) for column in columns},
        "rows": {
            row.name: {
                "what": row.what,
                "changes": row.changes,
                "folder": str(row.config.folder),
                "words": list(row.words),
                "paper": row.row.paper,
            }
            for row in rows
        },
    }
    with written_together(folder, ("beside_paper.json", "beside_paper.md")) as aside:
        write_json(values, aside / "beside_paper.json")
        text = as_markdown(table, rows, columns) + f"\n    {command}\n"
        (aside / "beside_paper.md").write_text(text)


def _as_json(column: Column) -> dict:
    pairs = [
        {**asdict(pair), "verdict": pair.verdict, "apart": pair.apart} for pair in column.pairs
    ]
    return {**asdict(column), "pairs": pairs, "tau": column.tau, "statement": column.statement()}


def _interval(interval: Interval | None) -> str:
    if interval is None:
        return "-"
    return f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
