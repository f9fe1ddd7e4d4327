"""How far a step is that may take long: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
# Shorter steps are over before anyone wonders.
SECONDS_UNSEEN = 2.0
# Where the output is no terminal (a cluster's log), progress is a line this often.
LINE_SECONDS = 30.0


def progress(items: Iterable[Item], what: str, total: int | None = None) -> Iterable[Item]:
    """`items`, with progress reported on stderr.

    On a terminal that is a bar once they take more than two seconds; elsewhere a line whenever
    half a minute has passed since the last one.

    Args:
        items: to go through.
        what: is being done.
        total: their number; None = their length, where they have one.
    """
    if sys.stderr.isatty():
        return tqdm(items, desc=what, total=total, delay=SECONDS_UNSEEN, leave=False)
    if total is None and isinstance(items, Sized):
        total = len(items)
    return _in_lines(items, what, total)


def _in_lines(items: Iterable[Item], what: str, total: int | None) -> Iterator[Item]:
    began = last = time.monotonic()
    for done, item in enumerate(items):
        if (now := time.monotonic()) - last >= LINE_SECONDS:
            last = now
            of = "" if total is None else f" of {total}"
            print(f"{what}: {done}{of}, {now - began:.0f} s", file=sys.stderr, flush=True)
        yield item
