"""Numbers in configs: always finite, and in the range stated by their field.

Every comparison with NaN is false, so a NaN limit would be no limit, and an infinite learning rate
would satisfy any lower bound. `load_config` checks everything it reads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

RANGE = "range"


@dataclass(frozen=True)
class Range:
    """The allowed numbers of a field; None = no such bound.

    Args:
        at_least: inclusive minimum.
        above: exclusive minimum.
        at_most: inclusive maximum.
        below: exclusive maximum.
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
        return " and ".join(
            f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None
        )


def within(default: Any, **bounds: int | float) -> Any:
    """A field of a config dataclass with its default and a `Range`.

    The bounds apply to a number and to every number of a tuple or list; None is always allowed.
    """
    return field(default=default, metadata={RANGE: Range(**bounds)})


def check_numbers(config: Any, prefix: str = "") -> None:
    """Refuses numbers that are not finite, or outside the range stated by their field.

    Args:
        config: a dataclass; nested ones are checked too.
        prefix: prefix of its keys, such as `network.` if it is nested in another config.

    Raises:
        ValueError: the message names the first invalid key (dotted) and its range.
    """
    for key, number, stated in _numbers(config, prefix):
        if not math.isfinite(number):
            raise ValueError(f"{key}={number} must be a finite number")
        if stated is not None and not stated.holds(number):
            raise ValueError(f"{key}={number} must be {stated}")


def _numbers(config: Any, prefix: str) -> Iterator[tuple[str, int | float, Range | None]]:
    """Key, value and range of every number."""
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            yield from _numbers(value, f"{prefix}{item.name}.")
            continue
        for number in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(number, (int, float)) and not isinstance(number, bool):
                yield f"{prefix}{item.name}", number, item.metadata.get(RANGE)
