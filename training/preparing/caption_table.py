"""Captions of whole recordings from a data set's own table, such as MiraData's."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from anchorweave.recordings.reading import text_of

# Suffix that MegaSaM appends to the name of its input clip.
APPENDED = ("_sgd_cvd_hr",)


def read_captions(table: Path, key: str, column: str) -> dict[str, str]:
    """Captions by clip; clips with an empty caption are omitted.

    Args:
        table: a CSV file with a header.
        key: its column of clip names.
        column: its column of captions.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a missing column, or a clip with two captions.
    """
    if not table.is_file():
        raise FileNotFoundError(f"table={table}: no such file")
    rows = csv.DictReader(text_of(table).splitlines(keepends=True))
    for name in (key, column):
        if name not in (columns := [each for each in rows.fieldnames or () if each]):
            raise ValueError(f"{table}: has no column {name!r}; it has {', '.join(columns)}")
    captions: dict[str, str] = {}
    for row in rows:
        clip, words = row[key], " ".join((row[column] or "").split())
        if not words:
            continue
        if captions.setdefault(clip, words) != words:
            raise ValueError(f"{table}, line {rows.line_num}: a second caption of {clip}")
    return captions


def caption_in(captions: Mapping[str, str], recording: Path) -> str | None:
    """The caption of a recording with the name of its clip in the table; None without one.

    Args:
        captions: from `read_captions`.
        recording: a folder CLIP, or a file CLIP.* or, as named by MegaSaM, CLIP_sgd_cvd_hr.npz.
    """
    name = recording.name if recording.is_dir() else recording.stem
    names = [name, *(name.removesuffix(end) for end in APPENDED)]
    return next((captions[each] for each in names if each in captions), None)
