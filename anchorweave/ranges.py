"""Numbers of configs: finite, all of them, and in the range that their field states.

Every comparison with a number that is not one is false, so that a limit of NaN is no limit, and a
learning rate that is infinite is above every bound but one. `load_config` checks whatever it reads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

RANGE = "range"


@dataclass(frozen=True)
class Range:
    """Which numbers may stand in a field; None = no such bound.

    Args:
        at_least: smallest.
        above: what they have to be larger than.
        at_most: largest.
        below: what they have to be smaller than.
    """

    at_least: int | float | None = None
    above: int | float | None = None
    at_most: int | float | None = None
    below: int | float | None = None

    def holds(self, number: int | float) -> bool:
        """Whether a number lies within."""
        return (
            (self.at_least is None or number >= self.at_least)
            and (self.above is None or number > self.above)
            and (self.at_most is None or number <= self.at_most)
            and (self.below is None or number < self.below)
        )

    def __str__(self) -> str:
        bounds = {
            "at least": self.at_least,
            "above": self.above,
            "at most": self.at_most,
            "below": self.below,
        }
        return " and ".join(f"{word} {met:g}" for word, met in bounds.items() if met is not None)


def within(default: Any, **bounds: int | float) -> Any:
    """A field of a config dataclass with its default and a `Range` of these bounds.

    The bounds hold for a number, for every number of a tuple or list, and not for None.
    """
    return field(default=default, metadata={RANGE: Range(**bounds)})


def check_numbers(config: Any, prefix: str = "") -> None:
    """Refuse numbers that are not finite, and those outside the range that their field states.

    Args:
        config: a dataclass; others in it are checked as well.
        prefix: of its keys, such as `network.` where it is a part of another.

    Raises:
        ValueError: names the first one, by its dotted key, and what it has to be.
    """
    for key, number, stated in _numbers(config, prefix):
        if not math.isfinite(number):
            raise ValueError(f"{key}={number} must be a finite number")
        if stated is not None and not stated.holds(number):
            raise ValueError(f"{key}={number} must be {stated}")


def _numbers(config: Any, prefix: str) -> Iterator[tuple[str, int | float, Range | None]]:
    """Key, value and range of every number."""
    for one in fields(config):
        value = getattr(config, one.name)
        if is_dataclass(value):
            yield from _numbers(value, f"{prefix}{one.name}.")
            continue
        for number in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(number, (int, float)) and not isinstance(number, bool):
                yield f"{prefix}{one.name}", number, one.metadata.get(RANGE)
