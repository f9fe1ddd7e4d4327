"""No half-written file ever carries a final name, and a file is known by its sum."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What `atomic_write` writes to until it is whole.
PARTIAL = re.compile(r"\.partial-[0-9a-f]+-.+")


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """A hidden name beside `path` to write a file or folder to; renamed when the body succeeds.

    The suffix is kept, for writers that choose the format by it. If the body fails (a full disk,
    an interrupt), what it wrote is removed and `path` is as it was before.
    """
    path = Path(path)
    aside = path.with_name(f".partial-{_writer()}-{path.name}")
    try:
        yield aside
        os.replace(aside, path)
    except BaseException:
        if aside.is_dir():
            shutil.rmtree(aside)
        else:
            aside.unlink(missing_ok=True)
        raise


def unfinished(path: str | Path) -> list[Path]:
    """What ended runs left of a file or folder that they were writing aside; of no other's."""
    path = Path(path)
    name = re.compile(r"\.partial-[0-9a-f]+-" + re.escape(path.name))
    return [one for one in unfinished_in(path.parent) if name.fullmatch(one.name)]


def unfinished_in(folder: str | Path) -> list[Path]:
    """The same of all files and folders in one."""
    folder = Path(folder)
    if not folder.is_dir():
        return []
    return sorted(one for one in folder.iterdir() if PARTIAL.fullmatch(one.name))


def _writer() -> str:
    """A name for this process, in hexadecimal digits, also where several hosts share a folder."""
    return f"{zlib.crc32(socket.gethostname().encode()):08x}{os.getpid():x}"


def file_sum(path: str | Path) -> str:
    """A short name for a file's bytes: one flipped bit, another name."""
    return bytes_sum(Path(path).read_bytes())


def bytes_sum(stored: bytes) -> str:
    """The same of bytes in memory."""
    return hashlib.sha256(stored).hexdigest()[:16]
