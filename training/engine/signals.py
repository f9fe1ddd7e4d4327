"""A run that is told to stop: it finishes its step, saves, and ends."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# SIGINT is what Ctrl-C sends.
STOPPING = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
# A launcher passes Ctrl-C on, to ranks that have got it from the terminal already; a second press
# comes later than that.
SECOND_PRESS_SECONDS = 1.0


def outlive_signals(worker: int) -> None:
    """Makes a process that loads clips deaf to what stops a run.

    A launcher, a terminal and a cluster signal the whole process group; a loader that died of it
    would take the run down before it has saved. It ends with its rank, which kills it
    (`training_calls`) or is missed by it, within seconds.
    """
    for each in STOPPING:
        signal.signal(each, signal.SIG_IGN)


@dataclass
class Stop:
    """Whether this process was asked to stop, and by which signal."""

    asked_by: str | None = None


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Inside, SIGTERM, SIGUSR1 and SIGINT (Ctrl-C) are noted and do nothing else.

    A launcher passes on what it gets, so that a rank may well get the same signal twice. Who
    presses Ctrl-C a second time does not want to wait for a checkpoint.

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
