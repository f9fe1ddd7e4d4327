"""Where the files of an exploration lie, and that a name from the page leads nowhere else.

OUTPUT/explorer.json        where it stands
OUTPUT/memory/              the memory that was begun with, without memory.path
OUTPUT/memories/NNNN/       the memory after an accepted segment or an edit
OUTPUT/segments/NNNN/       a generated segment: frames, video, why it saw what it saw
OUTPUT/paths/NAME.txt       saved paths
OUTPUT/taken/               what was taken away
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from anchorweave.files import unfinished_in

MEMORIES, SEGMENTS, PATHS, TAKEN = "memories", "segments", "paths", "taken"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def remove_leftovers(output: Path) -> None:
    """Remove what runs that were killed had begun to write aside; the folder is this run's alone.

    Args:
        output: of the exploration.
    """
    for name in ("", MEMORIES, SEGMENTS, PATHS, TAKEN):
        for left in unfinished_in(output / name):
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink()


def named(folder: Path, name: str, suffix: str) -> Path:
    """The file of a folder that a word from the page names.

    Args:
        folder: in the output folder.
        name: without suffix.
        suffix: of the file.

    Raises:
        ValueError: a name that is more than letters, digits, - and _, or leads out of the folder.
    """
    if not NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is no name for a file: take letters, digits, - and _, at most 64 of them"
        )
    path = folder / f"{name}{suffix}"
    if path.is_symlink() or not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{path} leads out of {folder}; remove that link, or take another name")
    return path
