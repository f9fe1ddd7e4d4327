"""Progress of long steps: a bar on a terminal, an occasional line elsewhere.

A thread that works for someone else (a web page) reports to a listener instead.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
# Seconds before a bar appears.
SECONDS_UNSEEN = 2.0
# Seconds between lines if the output is not a terminal (a cluster's log).
LINE_SECONDS = 30.0

# Takes the description, the number of items done, and the total.
Listener = Callable[[str, int, int | None], None]
# Per thread: the listener, and the last report.
_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)
_SAID: ContextVar[tuple[str, int, int | None] | None] = ContextVar("said", default=None)


def progress(items: Iterable[Item], what: str, total: int | None = None) -> Iterable[Item]:
    """`items`, with progress reported on stderr.

    On a terminal this is a bar once they take more than two seconds; elsewhere it is a line at most
    every half minute.

    Args:
        items: the items to iterate.
        what: description of the work.
        total: their number; None = their length, if they have one.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if _LISTENER.get() is not None:
        return _heard(items, what, total)
    if sys.stderr.isatty():
        return tqdm(items, desc=what, total=total, delay=SECONDS_UNSEEN, leave=False)
    return _in_lines(items, what, total)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Context in which this thread reports progress to `listener`, before each item, not to stderr.

    Args:
        listener: an exception it raises ends the step, like an error in an item.
    """
    before = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(before)


def still_at_it() -> None:
    """Repeats the last report within an item that takes long, so that the listener can end it."""
    listener, report = _LISTENER.get(), _SAID.get()
    if listener is not None and report is not None:
        listener(*report)


def _heard(items: Iterable[Item], what: str, total: int | None) -> Iterator[Item]:
    listener = _LISTENER.get()
    for done, item in enumerate(items):
        if listener is not None:
            _SAID.set((what, done, total))
            listener(what, done, total)
        yield item


def _in_lines(items: Iterable[Item], what: str, total: int | None) -> Iterator[Item]:
    began = last = time.monotonic()
    for done, item in enumerate(items):
        if (now := time.monotonic()) - last >= LINE_SECONDS:
            last = now
            of = "" if total is None else f" of {total}"
            print(f"{what}: {done}{of}, {now - began:.0f} s", file=sys.stderr, flush=True)
        yield item
