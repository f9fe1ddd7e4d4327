"""Captions of whole recordings from a data set's own table, such as MiraData's."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from anchorweave.recordings.reading import text_of

# What reconstruction networks append to the name of the clip that they were given: MegaSaM.
APPENDED = ("_sgd_cvd_hr",)


def read_captions(table: Path, key: str, column: str) -> dict[str, str]:
    """Captions by clip; a clip whose caption is empty is left out.

    Args:
        table: a CSV file with a header.
        key: its column of clips' names.
        column: its column of captions.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no such columns, or a clip that has two captions.
    """
    if not table.is_file():
        raise FileNotFoundError(f"table={table}: there is no such file")
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
    """The caption of a recording, which is called as its clip is in the table; None without one.

    Args:
        captions: of `read_captions`.
        recording: a folder CLIP, or a file CLIP.* or, as MegaSaM names it, CLIP_sgd_cvd_hr.npz.
    """
    name = recording.name if recording.is_dir() else recording.stem
    names = [name, *(name.removesuffix(end) for end in APPENDED)]
    return next((captions[each] for each in names if each in captions), None)
