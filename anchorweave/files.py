"""Atomic writes (no partial file ever has its final name), and checksums of files."""

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

# Temporary names that `atomic_write` uses until a file is complete.
PARTIAL = re.compile(r"\.partial-[0-9a-f]+-.+")


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """A hidden name beside `path` to write a file or folder to; renamed if the body succeeds.

    The suffix is preserved, for writers that infer the format from it. If the body fails (a full
    disk, an interrupt), what it wrote is removed and `path` is unchanged.
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
    """Temporary files or folders left for `path` by runs that have ended."""
    path = Path(path)
    name = re.compile(r"\.partial-[0-9a-f]+-" + re.escape(path.name))
    return [file for file in unfinished_in(path.parent) if name.fullmatch(file.name)]


def unfinished_in(folder: str | Path) -> list[Path]:
    """The same for all files and folders in `folder`."""
    folder = Path(folder)
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if PARTIAL.fullmatch(file.name))


def _writer() -> str:
    """A hexadecimal name for this process, unique even if several hosts share a folder."""
    return f"{zlib.crc32(socket.gethostname().encode()):08x}{os.getpid():x}"


def file_sum(path: str | Path) -> str:
    """A short checksum of a file's bytes."""
    return bytes_sum(Path(path).read_bytes())


def bytes_sum(stored: bytes) -> str:
    """The same for bytes in memory."""
    return hashlib.sha256(stored).hexdigest()[:16]
