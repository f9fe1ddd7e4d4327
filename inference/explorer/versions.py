"""Versions of a memory: banks that share their pictures, so that each can be had back.

A bank never changes a picture that it wrote, so a version links those of the one before and adds
its own: it costs its list and its new frames. Where links cannot be made, pictures are copied.
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
    """Where the bank of a version lies."""
    return output / MEMORIES / f"{number:04d}" if number else Path(state.root)


def remove_unfinished(output: Path, state: Explored) -> None:
    """Remove the bank of a version that was cut off before the state named it.

    Raises:
        ValueError: what lies there is no bank of this program, or another run makes it.
    """
    path = version_path(output, state, len(state.versions))
    # Takes over from a run that was killed at it.
    with making(path):
        remove_bank(path)


def fork_bank(bank: Bank, path: Path) -> Bank:
    """A bank at `path` with the frames that `bank` lists, to which others can be added.

    Args:
        bank: is left as it is, even where another process adds to it meanwhile.
        path: of the new one; must not exist yet.

    Raises:
        FileExistsError: there is something at `path`.
        OSError: it could not be written.
    """
    path.mkdir(parents=True)
    for folder in FOLDERS:
        (path / folder).mkdir()
    # Another process may add to it from here on: what it adds is not in this list.
    stored = (bank.path / TRANSFORMS).read_bytes()
    # Before the pictures: what is cut off here is known to be a bank, and can be removed.
    (path / TRANSFORMS).write_bytes(stored)
    put: Callable[[Path, Path], object] = os.link
    for entry in progress(read_list(path).entries, "keeping the memory as it was"):
        for name in (entry["file_path"], entry["depth_file_path"]):
            try:
                put(bank.path / name, path / name)
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                put = shutil.copyfile
                put(bank.path / name, path / name)
    for views in bank.path.glob("views-*.bin"):
        # Added to in place, so that it is copied; records that do not fit are made again.
        shutil.copyfile(views, path / views.name)
    return Bank(path)
