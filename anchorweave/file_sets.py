"""Sets of files that are replaced together: all of them or none.

    FOLDER/.partial-WRITER-.complete-set/    a set that is being written
    FOLDER/.complete-set/                    a complete one, until its files are moved to FOLDER

One rename makes a set complete. From then on it is the current one: the files of the old set are
deleted, and the new ones moved into their places, so that files of the two never coexist. If the
run is killed in between, the next reader or writer of the folder completes the operation. Files
from different runs that a person copied together are recognised by their run ids, if they have any.
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
# In a complete set: names of old files that the new set lacks; and the replaced files.
OBSOLETE, REPLACED = ".obsolete", ".replaced"


class MixedSetError(ValueError):
    """Files that are read together but come from different runs."""


@contextmanager
def written_together(folder: str | Path, names: Sequence[str]) -> Iterator[Path]:
    """A hidden folder to write a set of files to, which then replaces the set in `folder`.

    If the body fails, its output is deleted and `folder` stays as it was. In the meantime `folder`
    is locked by this process.

    Args:
        folder: the destination; created if missing.
        names: everything that may belong to the set. Names that the body does not write are deleted
            with the old set; everything else in `folder` stays.

    Raises:
        FolderInUseError: another run works there.
        ValueError: the body wrote something with another name.
    """
    folder = Path(folder)
    with in_use_once(folder):
        _finish(folder)
        # The folder is locked by this run, so the writer of these was killed.
        for left in unfinished(folder / COMPLETE):
            shutil.rmtree(left)
        with atomic_write(folder / COMPLETE) as aside:
            aside.mkdir()
            yield aside
            _complete(aside, names)
        _finish(folder)


def finish_set(folder: str | Path) -> None:
    """Completes a replacement whose run was killed; called by readers.

    Raises:
        FolderInUseError: the run is alive and still replacing.
    """
    folder = Path(folder)
    if (folder / COMPLETE).is_dir():
        with in_use_once(folder):
            _finish(folder)


def new_run() -> str:
    """An id for the files of one run."""
    return uuid.uuid4().hex[:12]


def refuse_mixed(runs: Mapping[Path, str | None]) -> None:
    """Rejects reading files of different runs as a set.

    Args:
        runs: file -> id of its run; None = it has none, as in earlier versions.

    Raises:
        MixedSetError: names each file and its run.
    """
    if len(set(runs.values())) > 1:
        listing = " and ".join(f"{file} of {_called(run)}" for file, run in runs.items())
        raise MixedSetError(
            f"{listing} do not belong together: use the files of one run, or create them again"
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
    """Old files first, so that none coexists with a new one. Safe to interrupt and repeat."""
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
        # The rename removes it at once, however long deletion takes.
        if away.exists():
            shutil.rmtree(away)
        os.replace(path, away)
    else:
        path.unlink(missing_ok=True)
