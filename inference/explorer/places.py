"""The files of an exploration; names from the page cannot escape their folders.

OUTPUT/explorer.json        the state
OUTPUT/memory/              the initial memory, if memory.path is not set
OUTPUT/memories/NNNN/       the memory after an accepted segment or an edit
OUTPUT/segments/NNNN/       a generated segment: frames, video, retrieval report
OUTPUT/paths/NAME.txt       saved paths
OUTPUT/exports/             exported files
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from anchorweave.files import unfinished_in

MEMORIES, SEGMENTS, PATHS, EXPORTS = "memories", "segments", "paths", "exports"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def remove_leftovers(output: Path) -> None:
    """Deletes temporary files of killed runs; the folder must be locked by this run.

    Args:
        output: output folder of the exploration.
    """
    for name in ("", MEMORIES, SEGMENTS, PATHS, EXPORTS):
        for left in unfinished_in(output / name):
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink()


def named(folder: Path, name: str, suffix: str) -> Path:
    """The file that a name from the page refers to.

    Args:
        folder: a subfolder of the output folder.
        name: name without suffix.
        suffix: suffix of the file.

    Raises:
        ValueError: a name with characters other than letters, digits, - and _, or a path outside
            the folder.
    """
    if not NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is not a valid file name: use letters, digits, - and _, at most 64"
        )
    path = folder / f"{name}{suffix}"
    if path.is_symlink() or not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{path} is outside {folder}; remove that link, or choose another name")
    return path
