"""Versions of a memory: banks that share their images, so that each can be restored.

A bank never changes an image that it wrote, so a version hard-links those of its parent and adds
its own: it costs only its list and its new frames. If linking fails, images are copied.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from anchorweave.locks import making
from anchorweave.memory import Bank
from anchorweave.memory.bank import FOLDERS
from anchorweave.memory.bank_list import read_list
from anchorweave.memory.removal import remove_bank
from anchorweave.progress import progress
from anchorweave.recordings.nerfstudio import TRANSFORMS
from inference.explorer.places import MEMORIES
from inference.explorer.state import Explored

NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS)


def version_path(output: Path, state: Explored, number: int) -> Path:
    """The bank folder of a version."""
    return output / MEMORIES / f"{number:04d}" if number else Path(state.root)


def remove_unfinished(output: Path, state: Explored) -> None:
    """Deletes the bank of a version that was interrupted before the state recorded it.

    Raises:
        ValueError: it is not a bank of this program, or another run is writing it.
    """
    path = version_path(output, state, len(state.versions))
    # Takes over from a run that was killed while writing it.
    with making(path):
        remove_bank(path)


def fork_bank(bank: Bank, path: Path) -> Bank:
    """Creates a bank at `path` with the frames that `bank` lists, which can be extended.

    Args:
        bank: left unchanged; another process may add to it in the meantime.
        path: path of the new one; must not exist yet.

    Raises:
        FileExistsError: `path` exists.
        OSError: it could not be written.
    """
    path.mkdir(parents=True)
    for folder in FOLDERS:
        (path / folder).mkdir()
    # Whatever another process adds from here on is not in this list.
    stored = (bank.path / TRANSFORMS).read_bytes()
    # Before the images: an interrupted copy is then recognisable as a bank, and can be deleted.
    (path / TRANSFORMS).write_bytes(stored)
    put: Callable[[Path, Path], object] = os.link
    for entry in progress(read_list(path).entries, "saving the current version"):
        for name in (entry["file_path"], entry["depth_file_path"]):
            try:
                put(bank.path / name, path / name)
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                put = shutil.copyfile
                put(bank.path / name, path / name)
    for views in bank.path.glob("views-*.bin"):
        # Appended to in place, so it must be a copy; records that do not fit are recomputed.
        shutil.copyfile(views, path / views.name)
    return Bank(path)
