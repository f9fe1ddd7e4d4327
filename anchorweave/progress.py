"""Progress of long steps: a bar on a terminal, an occasional line elsewhere.

A thread that runs such steps on behalf of another component (a page in a browser) receives the
progress through a listener instead.
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
# No bar for shorter steps.
SECONDS_UNSEEN = 2.0
# If the output is not a terminal (a cluster's log), one line per interval.
LINE_SECONDS = 30.0

# Called with the description, the number of finished items, and their total.
Listener = Callable[[str, int, int | None], None]
# This thread's listener.
_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)
_SAID: ContextVar[tuple[str, int, int | None] | None] = ContextVar("said", default=None)


def progress(items: Iterable[Item], what: str, total: int | None = None) -> Iterable[Item]:
    """`items`, with progress reported on stderr.

    On a terminal it is a bar, shown after two seconds; elsewhere one line every half minute.

    Args:
        items: to iterate over.
        what: description.
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
    """Context in which this thread reports progress to `listener` instead of stderr.

    Args:
        listener: an exception raised by it aborts the step.
    """
    before = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(before)


def still_at_it() -> None:
    """Reports again within a long item, so that the listener may abort it."""
    listener, said = _LISTENER.get(), _SAID.get()
    if listener is not None and said is not None:
        listener(*said)


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
