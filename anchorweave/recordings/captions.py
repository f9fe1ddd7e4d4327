"""Captions of stretches: what a long recording shows, every so many frames.

A `captions.txt` in a recording's folder (or `X.captions.txt` beside a file X) has a line a stretch:

    FIRST_LAST<tab>words          positions of its first and last frame, from 0

as Context-as-Memory's data set and SPMem caption their videos, a stretch at a time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from anchorweave.recordings.reading import text_of

CAPTIONS = "captions.txt"
LINE = re.compile(r"(\d+)_(\d+)\s+(\S.*)")


@dataclass(frozen=True)
class Stretch:
    """Words for the frames from position `first` to `last`, both included."""

    first: int
    last: int
    words: str


def read_stretches(file: Path) -> list[Stretch]:
    """The captions in `file`, in its order.

    Raises:
        ValueError: a line that is none, or none at all.
    """
    found = []
    for number, line in enumerate(text_of(file).splitlines(), start=1):
        if not line.strip():
            continue
        told = LINE.fullmatch(line.strip())
        if told is None or int(told[1]) > int(told[2]):
            raise ValueError(
                f"{file}, line {number}: is no FIRST_LAST and words, such as "
                f"'0_76<tab>a furnished room': {line[:60]!r}"
            )
        found.append(Stretch(int(told[1]), int(told[2]), told[3]))
    if not found:
        raise ValueError(f"{file} is empty; write a line a stretch, or remove it")
    return found


def caption_of(stretches: Sequence[Stretch], frames: Sequence[int]) -> str | None:
    """The words of the stretch that holds most of `frames`, the first of equal ones; or None."""
    shared = [sum(one.first <= frame <= one.last for frame in frames) for one in stretches]
    best = max(range(len(stretches)), key=lambda i: shared[i], default=None)
    return None if best is None or not shared[best] else stretches[best].words


def write_stretches(stretches: Sequence[Stretch]) -> str:
    """The text of a captions file."""
    return "".join(f"{one.first}_{one.last}\t{' '.join(one.words.split())}\n" for one in stretches)
