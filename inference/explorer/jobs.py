"""One piece of work at a time, in the background: how far it is, and that it may be cancelled."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from anchorweave.progress import listening
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

    It ends where it was cancelled at the next thing that it tells: by `told`, or before an item of
    any loop that shows its progress (`anchorweave.progress`).

    Args:
        what: is done, in words.
        work: takes this job, and tells it how far it is.
        ended: is called with the error's message, or None, when all is over.
    """

    def __init__(self, what: str, work: Callable[[Job], None], ended: Callable[[str | None], None]):
        self.progress = Progress(what, 0.0)
        self._stage, self._until = what, 0.0
        self._loop: tuple[str, float, float] | None = None
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

    def told(self, what: str, share: float, until: float | None = None) -> None:
        """Called by the work.

        Args:
            what: is done now.
            share: of all work that is done.
            until: share that is done when the loops in this part of the work are through; None =
                they are not counted.

        Raises:
            CancelledError: it was cancelled.
        """
        self._stage, self._until, self._loop = what, share if until is None else until, None
        self._tell(Progress(what, share))

    def _heard(self, loop: str, done: int, total: int | None) -> None:
        """Called before every item of a loop of the work."""
        if self._loop is None or self._loop[0] != loop:
            # Nobody knows how many loops follow: each takes half of what is left.
            begun = self.progress.share
            self._loop = (loop, begun, (begun + self._until) / 2)
        _, begun, end = self._loop
        share = begun + (end - begun) * done / total if total else begun
        of = "" if total is None else f" of {total}"
        self._tell(Progress(f"{self._stage}: {loop}, {done}{of}", share))

    def _tell(self, progress: Progress) -> None:
        self.progress = progress
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
            with listening(self._heard):
                self._work(self)
        except CancelledError:
            said = "cancelled; memory and path are as they were"
        except Exception as error:
            said = told_of(error)
        self._ended(said)
