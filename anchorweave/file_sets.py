"""Sets of files that are replaced together: either all of them or none.

    FOLDER/.partial-WRITER-.complete-set/    a set being written
    FOLDER/.complete-set/                    a complete set, until moved into FOLDER

A single rename completes a set. From then on the new set is authoritative: the files of the old set
are removed and those of the new one moved into place, so that files of different sets never coexist
in FOLDER. If the run is killed in between, the next reader or writer of the folder finishes the
move. Files of different sets that a user copied together are detected by their run ids, where they
have them.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from anchorweave.files import atomic_write, unfinished
from anchorweave.locks import in_use_once

COMPLETE = ".complete-set"
# Listed in a complete set: files of the old set that the new one lacks, and what existed before.
OBSOLETE, REPLACED = ".obsolete", ".replaced"


class MixedSetError(ValueError):
    """Files that must be read together, but come from different runs."""


@contextmanager
def written_together(folder: str | Path, names: Sequence[str]) -> Iterator[Path]:
    """A hidden folder to write a set of files and folders to, which then replaces that in `folder`.

    If the body fails, what it wrote is removed and `folder` is unchanged. Meanwhile this process
    holds the lock of `folder`.

    Args:
        folder: where the set belongs; created if needed.
        names: everything that may belong to the set. Those that the body does not write are
            removed with the old set; everything else in `folder` is untouched.

    Raises:
        FolderInUseError: another run is using the folder.
        ValueError: the body wrote something under another name.
    """
    folder = Path(folder)
    with in_use_once(folder):
        _finish(folder)
        # This run holds the folder's lock, so the writer of these was killed.
        for left in unfinished(folder / COMPLETE):
            shutil.rmtree(left)
        with atomic_write(folder / COMPLETE) as aside:
            aside.mkdir()
            yield aside
            _complete(aside, names)
        _finish(folder)


def finish_set(folder: str | Path) -> None:
    """Finishes moving a complete set into place if its run was killed; called by readers.

    Raises:
        FolderInUseError: the run is alive and still moving files.
    """
    folder = Path(folder)
    if (folder / COMPLETE).is_dir():
        with in_use_once(folder):
            _finish(folder)


def new_run() -> str:
    """A unique id for the files of one run."""
    return uuid.uuid4().hex[:12]


def refuse_mixed(runs: Mapping[Path, str | None]) -> None:
    """Refuses to read files of different runs as a set.

    Args:
        runs: file -> id of its run; None = it has none, as in earlier versions.

    Raises:
        MixedSetError: names each file and its run.
    """
    if len(set(runs.values())) > 1:
        listing = " and ".join(f"{file} of {_called(run)}" for file, run in runs.items())
        raise MixedSetError(
            f"{listing} do not belong together: use files of a single run, or make them again"
        )


def _called(run: str | None) -> str:
    return "a run without an id" if run is None else f"run {run}"


def _complete(aside: Path, names: Sequence[str]) -> None:
    written = {path.name for path in aside.iterdir()}
    if unknown := written - set(names):
        raise ValueError(f"{', '.join(sorted(unknown))}: not among the names of the set")
    (aside / OBSOLETE).write_text("\n".join(name for name in names if name not in written))
    (aside / REPLACED).mkdir()


def _finish(folder: Path) -> None:
    """Removes old files first, so that old and new never coexist. Safe to interrupt and repeat."""
    complete = folder / COMPLETE
    if not complete.is_dir():
        return
    # Files that are already in place belong to this set.
    coming = [path.name for path in complete.iterdir() if path.name not in (OBSOLETE, REPLACED)]
    if (complete / OBSOLETE).is_file():
        for name in (*coming, *filter(None, (complete / OBSOLETE).read_text().split("\n"))):
            _remove(folder / name, complete / REPLACED / name)
    for name in coming:
        os.replace(complete / name, folder / name)
    shutil.rmtree(complete)


def _remove(path: Path, away: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        # Renamed first, so that it disappears at once, however long removal takes.
        if away.exists():
            shutil.rmtree(away)
        os.replace(path, away)
    else:
        path.unlink(missing_ok=True)
