"""Deletes a bank: only files that this program wrote and marked as its own."""

from __future__ import annotations

import re
from pathlib import Path

from anchorweave.memory.bank import FOLDERS, NAMED
from anchorweave.memory.bank_list import read_list
from anchorweave.recordings.nerfstudio import TRANSFORMS

# The list's temporary files, which an interrupted run leaves behind.
PARTIAL = r"\.partial-[0-9a-f]+-"
OWN_FILES = re.compile(
    rf"transforms\.json|edits\.(json|png)|views-[0-9a-f]{{8}}\.bin|{PARTIAL}transforms\.json"
)
OWN_PICTURES = re.compile(rf"({PARTIAL})?\d{{6,}}\.png")


def remove_bank(path: Path) -> None:
    """Deletes the bank in the folder `path`, file by file; a missing or empty folder is no error.

    Raises:
        ValueError: the folder is not marked as a bank, or holds other files; the message names
            them, and nothing was deleted.
    """
    files, folders = own_files(path)
    for file in files:
        file.unlink()
    for folder in folders:
        folder.rmdir()


def own_files(path: Path) -> tuple[list[Path], list[Path]]:
    """The files and folders of the bank in the folder `path`, in the order of deletion.

    Raises:
        ValueError: as for `remove_bank`.
    """
    if not path.exists() and not path.is_symlink():
        return [], []
    way_out = "move it away, or give another output="
    if path.is_symlink() or not path.is_dir():
        raise ValueError(
            f"{path} is no folder of a run, which would put its memory there; {way_out}"
        )
    folders = [path / name for name in FOLDERS if (path / name).is_dir()]
    files = [file for file in path.iterdir() if file not in folders]
    pictures = [file for folder in folders for file in folder.iterdir()]
    if files or pictures:
        if not (path / TRANSFORMS).is_file() or not read_list(path).marked:
            raise ValueError(
                f"{path} holds {_some(path, files + pictures)} but is not marked as the memory "
                f"bank of an earlier run, so nothing in it is removed; {way_out}"
            )
        foreign = [file for file in files if not OWN_FILES.fullmatch(file.name)]
        foreign += [file for file in pictures if not OWN_PICTURES.fullmatch(file.name)]
        foreign += [f for f in (*files, *pictures) if f.is_dir() and f not in foreign]
        foreign += [folder for folder in folders if folder.is_symlink()]
        if foreign:
            raise ValueError(
                f"{path} is the memory bank of an earlier run, but holds {_some(path, foreign)} "
                f"besides, so nothing in it is removed; {way_out}"
            )
    # The list last, so that an interrupted removal still leaves the folder marked as a bank.
    files = sorted(pictures) + sorted(files, key=lambda file: file.name == TRANSFORMS)
    return files, [*folders, path]


def _some(path: Path, files: list[Path]) -> str:
    names = [str(file.relative_to(path)) for file in sorted(files)[:NAMED]]
    more = f" and {len(files) - NAMED} more" if len(files) > NAMED else ""
    return ", ".join(names) + more
