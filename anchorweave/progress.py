"""How far a step is that may take long: a bar on a terminal, a line now and then elsewhere.

A thread that runs such steps for somebody else (a page in a browser) listens to them instead.
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
# Shorter steps are over before anyone wonders.
SECONDS_UNSEEN = 2.0
# Where the output is no terminal (a cluster's log), progress is a line this often.
LINE_SECONDS = 30.0

# Takes what is being done, how many items are, and how many there are.
Listener = Callable[[str, int, int | None], None]
# Of this thread: who listens, and what was said last.
_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)
_SAID: ContextVar[tuple[str, int, int | None] | None] = ContextVar("said", default=None)


def progress(items: Iterable[Item], what: str, total: int | None = None) -> Iterable[Item]:
    """`items`, with progress reported on stderr.

    On a terminal that is a bar once they take more than two seconds; elsewhere a line whenever
    half a minute has passed since the last one.

    Args:
        items: to go through.
        what: is being done.
        total: their number; None = their length, where they have one.
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
    """Inside, this thread tells its progress to `listener`, before every item, and not on stderr.

    Args:
        listener: what it raises ends the step, as an error in an item would.
    """
    before = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(before)


def still_at_it() -> None:
    """Within an item that takes long itself: who listens hears of it again, and may end it."""
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
