"""One piece of work at a time, in the background: how far it is, and that it may be cancelled."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from inference.explorer.mistakes import told_of


class CancelledError(Exception):
    """The work was cancelled."""


@dataclass(frozen=True)
class Progress:
    """How far a piece of work is: what it does, and the share in [0, 1] that is done."""

    what: str
    share: float


class Job:
    """Work that runs in a thread of its own; a browser that goes away does not end it.

    Args:
        what: is done, in words.
        work: takes this job, tells it how far it is, and is ended by that where it was cancelled.
        ended: is called with the error's message, or None, when all is over.
    """

    def __init__(self, what: str, work: Callable[[Job], None], ended: Callable[[str | None], None]):
        self.progress = Progress(what, 0.0)
        self._cancelled = threading.Event()
        self._work, self._ended = work, ended
        self._thread = threading.Thread(target=self._run, name=what, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it is still at work."""
        return self._thread.is_alive()

    def told(self, what: str, share: float) -> None:
        """Called by the work.

        Raises:
            CancelledError: it was cancelled.
        """
        self.progress = Progress(what, share)
        if self._cancelled.is_set():
            raise CancelledError

    def cancel(self) -> None:
        """Ask it to end at its next step."""
        self._cancelled.set()

    def wait(self, seconds: float | None = None) -> None:
        """Until it is over.

        Raises:
            TimeoutError: it took longer.
        """
        self._thread.join(seconds)
        if self.alive:
            raise TimeoutError(f"{self.progress.what}: not over after {seconds} s")

    def _run(self) -> None:
        said: str | None = None
        try:
            self._work(self)
        except CancelledError:
            said = "cancelled; memory and path are as they were"
        except Exception as error:
            said = told_of(error)
        self._ended(said)
