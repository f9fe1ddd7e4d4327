"""Checks numbers in configs: all must be finite and in their field's range.

Comparisons with NaN are false, so a NaN limit would not limit anything, and an infinite learning
rate exceeds any bound. `load_config` checks everything it reads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

RANGE = "range"


@dataclass(frozen=True)
class Range:
    """Allowed range of a field; None = no such bound.

    Args:
        at_least: minimum.
        above: exclusive lower bound.
        at_most: maximum.
        below: exclusive upper bound.
    """

    at_least: int | float | None = None
    above: int | float | None = None
    at_most: int | float | None = None
    below: int | float | None = None

    def holds(self, number: int | float) -> bool:
        """Whether a number is in the range."""
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

    The bounds apply to a number and to every number of a tuple or list, but not to None.
    """
    return field(default=default, metadata={RANGE: Range(**bounds)})


def check_numbers(config: Any, prefix: str = "") -> None:
    """Rejects numbers that are not finite or out of their field's range.

    Args:
        config: a dataclass; nested ones are checked as well.
        prefix: prefix of its keys, such as `network.` if it is a section of another.

    Raises:
        ValueError: names the first one, by its dotted key, and the requirement.
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
