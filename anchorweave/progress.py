"""A progress bar for steps that may take long, and none for those that do not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
# Shorter steps are over before anyone wonders.
SECONDS_UNSEEN = 2.0


def slowly(items: Iterable[Item], what: str, total: int | None = None) -> Iterable[Item]:
    """`items`, with a bar on a terminal once they take more than two seconds."""
    return tqdm(items, desc=what, total=total, delay=SECONDS_UNSEEN, leave=False, disable=None)
