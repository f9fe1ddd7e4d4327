"""Captions of frame ranges, for long recordings.

A `captions.txt` in a recording's folder (or `X.captions.txt` beside a file X) has one line per
range:

    FIRST_LAST<tab>words          positions of its first and last frame, from 0

as Context-as-Memory's data set and SPMem caption their videos.
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
    """Caption of the frames at positions `first` to `last`, inclusive."""

    first: int
    last: int
    words: str


def read_stretches(file: Path) -> list[Stretch]:
    """The captions in `file`, in file order.

    Raises:
        ValueError: a malformed line, or an empty file.
    """
    stretches = []
    for number, line in enumerate(text_of(file).splitlines(), start=1):
        if not line.strip():
            continue
        match = LINE.fullmatch(line.strip())
        if match is None or int(match[1]) > int(match[2]):
            raise ValueError(
                f"{file}, line {number}: expected FIRST_LAST and words, such as "
                f"'0_76<tab>a furnished room': {line[:60]!r}"
            )
        stretches.append(Stretch(int(match[1]), int(match[2]), match[3]))
    if not stretches:
        raise ValueError(f"{file} is empty; write one line per range, or remove it")
    return stretches


def caption_of(stretches: Sequence[Stretch], frames: Sequence[int]) -> str | None:
    """The caption that covers most of `frames`, the first among ties; None if none does."""
    shared = [
        sum(stretch.first <= frame <= stretch.last for frame in frames) for stretch in stretches
    ]
    best = max(range(len(stretches)), key=lambda i: shared[i], default=None)
    return None if best is None or not shared[best] else stretches[best].words


def write_stretches(stretches: Sequence[Stretch]) -> str:
    """The text of a captions file."""
    return "".join(f"{s.first}_{s.last}\t{' '.join(s.words.split())}\n" for s in stretches)
