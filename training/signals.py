"""A run that is told to stop: it finishes its step, saves, and ends."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

STOPPING = (signal.SIGTERM, signal.SIGUSR1)


# Longer than a step and a checkpoint take, shorter than anyone waits for a process to end.
GRACE_SECONDS = 600


def outlive_signals(worker: int) -> None:
    """Makes a process that loads clips live until its rank is done.

    A launcher signals the whole process group; a loader that died of it would take the run down
    before it has saved. It still ends with its rank, or on its own after some minutes.
    """
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(GRACE_SECONDS))


@dataclass
class Stop:
    """Whether this process was asked to stop, and by which signal."""

    asked_by: str | None = None


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Inside, SIGTERM and SIGUSR1 are noted and do nothing else.

    A launcher passes on what it gets, so that a rank may well get the same signal twice.
    """
    stop = Stop()
    before = {}

    def note(number: int, frame: object) -> None:
        stop.asked_by = signal.Signals(number).name

    for each in STOPPING:
        before[each] = signal.signal(each, note)
    try:
        yield stop
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
