"""One background job at a time, with progress and cancellation."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from anchorweave.progress import listening
from inference.explorer.mistakes import told_of


class CancelledError(Exception):
    """The job was cancelled."""


@dataclass(frozen=True)
class Progress:
    """Progress of a job: its current activity, and the fraction in [0, 1] that is done."""

    what: str
    share: float


class Job:
    """A job in its own thread; it continues if the browser disconnects.

    A cancelled job ends at its next progress report: a call of `told`, or the next item of any loop
    with a progress bar (`anchorweave.progress`).

    Args:
        what: description of the job.
        work: called with this job, to which it reports progress.
        ended: called with the error message, or None, when the job is over.
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
        """Whether it is still running."""
        return self._thread.is_alive()

    def told(self, what: str, share: float, until: float | None = None) -> None:
        """Called by the job to report progress.

        Args:
            what: the current activity.
            share: fraction of all work that is done.
            until: fraction that will be done after the loops in this part of the work; None = loops
                are not tracked.

        Raises:
            CancelledError: the job was cancelled.
        """
        self._stage, self._until, self._loop = what, share if until is None else until, None
        self._tell(Progress(what, share))

    def _heard(self, loop: str, done: int, total: int | None) -> None:
        """Called before every item of a loop of the job."""
        if self._loop is None or self._loop[0] != loop:
            # The number of loops to come is unknown: each takes half of what is left.
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
        """Requests the job to end at its next step."""
        self._cancelled.set()

    def wait(self, seconds: float | None = None) -> None:
        """Waits until it is over.

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
            said = "cancelled; memory and path are unchanged"
        except Exception as error:
            said = told_of(error)
        self._ended(said)
