"""In which order frames follow each other, by the numbers in their names."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from anchorweave.images import IMAGE_SUFFIXES
from anchorweave.recordings.config import Order

WHOLE, DECIMALS = re.compile(r"(\d+)"), re.compile(r"(\d+(?:\.\d+)?)")


def by_number(names: Sequence[str]) -> list[int]:
    """Positions of `names` in the order of their numbers: 9 before 10, 12.125 before 12.25.

    Where 1.1 and 1.10 are two frames, dots part whole numbers.
    """
    stems = [_stem(name) for name in names]
    keys = [_fields(stem, DECIMALS) for stem in stems]
    if len(set(map(tuple, keys))) < len(set(names)):
        keys = [_fields(stem, WHOLE) for stem in stems]
    return sorted(range(len(names)), key=lambda i: (keys[i], names[i]))


def frame_order(file: Path, names: Sequence[str], order: Order) -> list[int]:
    """Positions of the frames that `file` lists, in the order in which they are read.

    Reconstruction programs list frames in the order in which they placed them, which is no order of
    time; a camera's counter, on the other hand, begins anew after 9999. A list that is shuffled is
    put in order by the one number in which its names differ; one that goes backwards, or breaks
    off once, is meant.

    Args:
        file: what lists them, for messages.
        names: paths of T frames, as listed.
        order: see `RecordingConfig`.
    """
    listed = list(range(len(names)))
    if order == "listed":
        return listed
    if order == "numbers":
        return by_number(names)
    numbers = _one_number(names)
    if numbers is None:
        return listed
    steps = list(zip(numbers, numbers[1:], strict=False))
    back = [i for i, (a, b) in enumerate(steps, 1) if b < a]
    if not back:
        return listed
    shuffled = len(back) > 1 and len(back) < len(steps)
    done, other = ("put in that order", "listed") if shuffled else ("kept as listed", "numbers")
    i = back[0]
    warnings.warn(
        f"{file}: frames are listed in another order than that of the numbers in their names "
        f"({names[i - 1]} before {names[i]}); {done} (recording.order={other} does otherwise)",
        stacklevel=2,
    )
    return by_number(names) if shuffled else listed


def _one_number(names: Sequence[str]) -> list[Decimal] | None:
    """The only thing in which the names differ, if that is a number, a different one each."""
    for pattern in (DECIMALS, WHOLE):
        columns = [_fields(_stem(name), pattern) for name in names]
        if len({len(fields) for fields in columns}) != 1:
            continue
        varying = [column for column in zip(*columns, strict=True) if len(set(column)) > 1]
        if len(varying) == 1 and varying[0][0][0] and len(set(varying[0])) == len(names):
            return [number for _, number in varying[0]]
    return None


def _fields(text: str, pattern: re.Pattern) -> list[tuple[bool, Decimal | str]]:
    # Every other part is a number, so that keys compare place by place.
    parts = enumerate(pattern.split(text))
    return [(bool(i % 2), Decimal(part) if i % 2 else part) for i, part in parts]


def _stem(name: str) -> str:
    return name.rpartition(".")[0] if name.lower().endswith(IMAGE_SUFFIXES) else name
