"""Atomic file writes, and checksums of files."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

# Temporary names used by `atomic_write`.
PARTIAL = re.compile(r"\.partial-[0-9a-f]+-.+")


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """A hidden name next to `path` to write a file or folder to; renamed when the body succeeds.

    Keeps the suffix, for writers that infer the format from it. If the body fails (a full disk, an
    interrupt), its output is deleted and `path` stays as it was.
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


def write_json(values: Mapping | list, path: str | Path) -> None:
    """Writes JSON atomically."""
    with atomic_write(path) as aside:
        aside.write_text(json.dumps(values, indent=1) + "\n")


def unfinished(path: str | Path) -> list[Path]:
    """Leftovers of ended runs that were writing this file or folder."""
    path = Path(path)
    name = re.compile(r"\.partial-[0-9a-f]+-" + re.escape(path.name))
    return [one for one in unfinished_in(path.parent) if name.fullmatch(one.name)]


def unfinished_in(folder: str | Path) -> list[Path]:
    """Likewise for all files and folders in a folder."""
    folder = Path(folder)
    if not folder.is_dir():
        return []
    return sorted(one for one in folder.iterdir() if PARTIAL.fullmatch(one.name))


def _writer() -> str:
    """An id of this process in hexadecimal digits, unique even if several hosts share a folder."""
    return f"{zlib.crc32(socket.gethostname().encode()):08x}{os.getpid():x}"


def file_sum(path: str | Path) -> str:
    """Checksum of a file's bytes."""
    checksum = hashlib.sha256()
    with open(path, "rb") as file:
        # In pieces: footage may be larger than memory.
        while piece := file.read(1 << 20):
            checksum.update(piece)
    return checksum.hexdigest()[:16]


def bytes_sum(stored: bytes) -> str:
    """Checksum of bytes in memory."""
    return hashlib.sha256(stored).hexdigest()[:16]
