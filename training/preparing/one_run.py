"""Allows one run at a time in a folder, with any number of ranks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from anchorweave.locks import in_use


@contextmanager
def one_run_in(folder: str | Path) -> Iterator[None]:
    """Context in which this run, on all its ranks, holds the lock of `folder`.

    Raises:
        FolderInUseError: another run is using it; raised on every rank.
        OSError: the folder is not writable; likewise.
    """
    with ExitStack() as held:
        refused: list[Exception | None] = [None]
        if PartialState().is_main_process:
            try:
                held.enter_context(in_use(folder))
            except (ValueError, OSError) as error:
                refused = [error]
        broadcast_object_list(refused)
        if refused[0] is not None:
            raise refused[0]
        yield
