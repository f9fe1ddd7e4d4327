"""The order of frames, from the numbers in their names."""

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
    """Positions of `names` in numerical order: 9 before 10, 12.125 before 12.25.

    If both 1.1 and 1.10 occur, dots separate integers instead.
    """
    stems = [_stem(name) for name in names]
    keys = [_fields(stem, DECIMALS) for stem in stems]
    if len(set(map(tuple, keys))) < len(set(names)):
        keys = [_fields(stem, WHOLE) for stem in stems]
    return sorted(range(len(names)), key=lambda i: (keys[i], names[i]))


def frame_order(file: Path, names: Sequence[str], order: Order) -> list[int]:
    """Positions of the frames that `file` lists, in reading order.

    Reconstruction programs list frames in registration order, which is not temporal order; on the
    other hand a camera's counter restarts after 9999. A shuffled list is sorted by the one number
    in which its names differ; a list that runs backwards, or has a single break, is kept.

    Args:
        file: the listing file, for messages.
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
    done, other = ("sorted by number", "listed") if shuffled else ("kept as listed", "numbers")
    i = back[0]
    warnings.warn(
        f"{file}: frames are not listed in the order of the numbers in their names "
        f"({names[i - 1]} before {names[i]}); {done} (set recording.order={other} to change this)",
        stacklevel=2,
    )
    return by_number(names) if shuffled else listed


def _one_number(names: Sequence[str]) -> list[Decimal] | None:
    """The one number in which the names differ, if it is unique for each; else None."""
    for pattern in (DECIMALS, WHOLE):
        columns = [_fields(_stem(name), pattern) for name in names]
        if len({len(fields) for fields in columns}) != 1:
            continue
        varying = [column for column in zip(*columns, strict=True) if len(set(column)) > 1]
        if len(varying) == 1 and varying[0][0][0] and len(set(varying[0])) == len(names):
            return [number for _, number in varying[0]]
    return None


def _fields(text: str, pattern: re.Pattern) -> list[tuple[bool, Decimal | str]]:
    # Every other part is a number, so that keys compare element by element.
    parts = enumerate(pattern.split(text))
    return [(bool(i % 2), Decimal(part) if i % 2 else part) for i, part in parts]


def _stem(name: str) -> str:
    return name.rpartition(".")[0] if name.lower().endswith(IMAGE_SUFFIXES) else name
