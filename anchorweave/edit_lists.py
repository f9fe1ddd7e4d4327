"""Reads the displayed duration of a video from the edit list of an mp4 or mov file.

Source: ISO/IEC 14496-12, 8.6.6 (edit list box) and 8.2.2 (movie header box).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

HOLDERS = (b"moov", b"trak", b"edts", b"mdia")
READ = (b"mvhd", b"elst", b"hdlr")
# Both boxes have a few dozen bytes; larger claims are treated as corrupt.
MOST_BYTES = 1 << 20


def shown_seconds(path: Path) -> float | None:
    """Displayed duration of the first video track, in seconds.

    None if the file does not say: another container, or a track without an edit list.
    """
    ticks, track, lists, is_video = 0, 0, {}, {}
    with path.open("rb") as file:
        for kind, content in _boxes(file, 0, path.stat().st_size):
            if kind == b"trak":
                track += 1
            elif kind == b"mvhd" and len(content) >= 24:
                ticks = struct.unpack_from(">I", content, 20 if content[0] == 1 else 12)[0]
            elif kind == b"elst":
                lists[track] = content
            elif kind == b"hdlr":
                is_video.setdefault(track, content[8:12] == b"vide")
    first = next((number for number, video in is_video.items() if video), None)
    if first not in lists or not ticks:
        return None
    spans = _spans(lists[first])
    # A duration of 0 means the length of the track.
    return sum(spans) / ticks if spans and all(spans) else None


def _spans(content: bytes) -> list[int]:
    """Duration of each edit that shows something, in movie ticks."""
    entry = struct.Struct(">QqI" if content[:1] == b"\1" else ">IiI")
    count = min(int.from_bytes(content[4:8], "big"), (len(content) - 8) // entry.size)
    edits = [entry.unpack_from(content, 8 + i * entry.size) for i in range(count)]
    return [span for span, start, _ in edits if start >= 0]


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    """The relevant boxes, in file order; parents before their children.

    Empty or incomplete for another kind of file, or a truncated one.
    """
    while start + 8 <= end:
        file.seek(start)
        head = file.read(16)
        if len(head) < 8:
            return
        size, kind, begin = int.from_bytes(head[:4], "big"), head[4:8], 8
        if size == 1:
            size, begin = int.from_bytes(head[8:16], "big"), 16
        elif size == 0:
            size = end - start
        if size < begin or start + size > end:
            return
        if kind in HOLDERS:
            yield kind, b""
            yield from _boxes(file, start + begin, start + size)
        elif kind in READ and size <= MOST_BYTES:
            file.seek(start + begin)
            yield kind, file.read(size - begin)
        start += size
