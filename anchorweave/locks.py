"""Folder locks: one run at a time, so that none overwrites the files of another.

    FOLDER/.in-use.json       process, host and command of the run; deleted when it has ended

A killed run leaves the file behind; the next run on the same host sees that the process is gone,
and takes over the folder. From another host this cannot be determined, so there the file must be
deleted manually.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

IN_USE = ".in-use.json"
# What this process wrote to its current locks; locks of the same second have the same text.
_HELD: list[str] = []


class FolderInUseError(ValueError):
    """Another run works in the folder."""


@contextmanager
def in_use(folder: str | Path) -> Iterator[None]:
    """Context in which this process owns `folder`.

    The folder is created if missing, including its parents; empty ones are deleted at the end.

    Raises:
        FolderInUseError: another run works there; names it, and says what to do.
    """
    folder = Path(folder)
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    mine = json.dumps(_owner(), indent=1) + "\n"
    while not _taken(folder / IN_USE, mine):
        refuse_in_use(folder)
    _HELD.append(mine)
    try:
        yield
    finally:
        _HELD.remove(mine)
        _give_back(folder / IN_USE, mine)
        for place in made:
            if not place.is_dir() or any(place.iterdir()):
                break
            place.rmdir()


@contextmanager
def in_use_once(folder: str | Path) -> Iterator[None]:
    """Like `in_use`, for parts of a run that may already own the folder.

    Raises:
        FolderInUseError: another run works there; names it, and says what to do.
    """
    lock = Path(folder) / IN_USE
    if _HELD and lock.is_file() and lock.read_text() in _HELD:
        yield
        return
    with in_use(folder):
        yield


@contextmanager
def making(path: str | Path) -> Iterator[None]:
    """Context in which only this process makes `path`, a folder that appears when complete.

    The lock is stored next to it, in `.NAME.making`.

    Raises:
        FolderInUseError: another run makes it; names it, and says what to do.
    """
    beside = Path(path).with_name(f".{Path(path).name}.making")
    with in_use(beside):
        yield
    # Left by a killed run that this one replaced.
    if beside.is_dir() and not any(beside.iterdir()):
        beside.rmdir()


def refuse_in_use(folder: str | Path) -> None:
    """Rejects a folder that another run works in; deletes the lock of a dead one.

    Raises:
        FolderInUseError: names the run, and says what to do.
    """
    lock = Path(folder) / IN_USE
    try:
        text = lock.read_text()
    except FileNotFoundError:
        return
    try:
        owner = json.loads(text)
        described = f"{owner['command']} (process {owner['pid']} on {owner['host']}, since "
        described += str(owner["since"])
        alive = _is_alive(owner)
    except (ValueError, KeyError, TypeError) as error:
        raise FolderInUseError(
            f"{folder} is in use, says {lock}, which cannot be read ({error}); if no run works "
            "there, remove that file"
        ) from error
    if alive is not False:
        end = "wait for it, stop it, or name another folder"
        if alive is None:
            end += f"; it cannot be seen from here, so if it has ended, remove {lock}"
        raise FolderInUseError(f"{folder} is in use by {described}); {end}")
    # Renamed first: if two processes race, one of them fails to find it.
    aside = lock.with_name(f"{IN_USE}.{uuid.uuid4().hex}")
    try:
        os.rename(lock, aside)
    except FileNotFoundError:
        return
    if aside.read_text() == text:
        aside.unlink()
    else:
        # Another process has taken the folder since it was checked.
        os.rename(aside, lock)


def _taken(lock: Path, text: str) -> bool:
    """Whether the lock was free, and is now ours."""
    # Written before it gets its final name, so that nobody reads a partial file.
    aside = lock.with_name(f"{IN_USE}.{uuid.uuid4().hex}")
    aside.write_text(text)
    try:
        os.link(aside, lock)
        return True
    except FileExistsError:
        return False
    finally:
        aside.unlink()


def _give_back(lock: Path, text: str) -> None:
    # Not one that another run took after this one's was deleted manually.
    if lock.is_file() and lock.read_text() == text:
        lock.unlink()


def _owner() -> dict[str, Any]:
    """An identification of this process."""
    pid = os.getpid()
    return {
        "pid": pid,
        "host": socket.gethostname(),
        "boot": _boot(),
        "processes": _process_space(),
        "started": _started(pid),
        "since": datetime.now().isoformat(" ", "seconds"),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def _is_alive(owner: dict[str, Any]) -> bool | None:
    """Whether a process is running; None if that cannot be determined from here."""
    if owner["host"] != socket.gethostname():
        return None
    if owner["boot"] != _boot():
        return False
    # In another container process ids refer to other processes.
    if owner["processes"] != _process_space():
        return None
    try:
        os.kill(owner["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    # The id may have been reused by another process since.
    return owner["started"] == _started(owner["pid"])


def _started(pid: int) -> str | None:
    """Start time of a process, in kernel ticks; `ended` for a zombie."""
    try:
        # The name, in brackets, may contain anything.
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return "ended" if words[0] in "ZX" else words[19]


def _boot() -> str | None:
    """Id of the machine's current boot."""
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text().strip() if path.is_file() else None


def _process_space() -> str | None:
    """Id of the process namespace: a container has its own."""
    path = Path("/proc/self/ns/pid")
    return os.readlink(path) if path.is_symlink() else None
