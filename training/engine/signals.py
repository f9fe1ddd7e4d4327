"""Handles requests to stop: the run finishes its step, saves, and ends."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# SIGINT is sent by Ctrl-C.
STOPPING = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
# A launcher forwards Ctrl-C to ranks that have already got it from the terminal; a second press
# comes later than that.
SECOND_PRESS_SECONDS = 1.0


def outlive_signals(worker: int) -> None:
    """Makes a data loading process ignore signals that stop a run.

    A launcher, a terminal and a cluster signal the whole process group; a loader that died of it
    would end the run before it has saved. It ends with its rank, which kills it (`training_calls`),
    or within seconds if the rank is gone.
    """
    for each in STOPPING:
        signal.signal(each, signal.SIG_IGN)


@dataclass
class Stop:
    """Whether this process was asked to stop, and by which signal."""

    asked_by: str | None = None


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Context in which SIGTERM, SIGUSR1 and SIGINT (Ctrl-C) are only recorded.

    A launcher forwards signals, so that a rank may get the same signal twice. A second Ctrl-C by
    the user means not to wait for a checkpoint.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed again.
    """
    stop = Stop()
    before = {}
    pressed: list[float] = []

    def note(number: int, frame: object) -> None:
        if number == signal.SIGINT:
            now = time.monotonic()
            if pressed and now - pressed[0] > SECOND_PRESS_SECONDS:
                raise KeyboardInterrupt
            pressed.append(now)
        stop.asked_by = stop.asked_by or signal.Signals(number).name

    for each in STOPPING:
        before[each] = signal.signal(each, note)
    try:
        yield stop
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
