"""The running stages of a recipe: one in the foreground, others in the background."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from signal import SIGHUP, SIGINT, SIGTERM, SIGUSR1, Signals, signal

# Maximum run time missing from the record if the recipe itself is killed.
NOTE_SECONDS = 30.0
# Polling interval for ended stages.
LOOK_SECONDS = 0.2


class RunningStages:
    """Processes by name of their stage.

    Args:
        note: called with a stage's name, the seconds since it was last called for it, and how the
            stage ended: None = still running, else its exit code or `stopped by SIGNAL`.
        lock: a file descriptor that every stage inherits.
    """

    def __init__(self, note: Callable[[str, float, int | str | None], None], lock: int):
        self._note, self._lock = note, lock
        self._processes: dict[str, subprocess.Popen] = {}
        self._noted: dict[str, float] = {}
        self._told: list[str] = []
        self._stopped: list[str] = []

    @contextmanager
    def passing_signals_on(self) -> Iterator[None]:
        """Context in which stop signals are forwarded to all stages as SIGTERM."""

        def tell(number: int, frame: object) -> None:
            self._told.append(Signals(number).name)
            self._stop_all()

        before = {each: signal(each, tell) for each in (SIGINT, SIGTERM, SIGUSR1, SIGHUP)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal(each, handler)

    def start(self, name: str, command: Sequence[str]) -> None:
        """Starts a stage: `python` with the arguments `command`."""
        # A separate process group: Ctrl-C in a terminal reaches only the recipe, which forwards it.
        self._processes[name] = subprocess.Popen(
            [sys.executable, *command], start_new_session=True, pass_fds=[self._lock]
        )
        self._noted[name] = time.monotonic()
        self._say(name, None)

    def wait_for(self, names: Sequence[str]) -> None:
        """Waits until those of `names` that are running have ended.

        Raises:
            SystemExit: any stage failed, or the recipe was told to stop; the others were stopped
            and have ended.
        """
        while True:
            for name, process in list(self._processes.items()):
                if process.poll() is not None:
                    self._ended(name, process)
                elif time.monotonic() - self._noted[name] > NOTE_SECONDS:
                    self._say(name, None)
            if self._told and not self._processes:
                names = ", ".join(self._stopped)
                sys.exit(f"{names}: stopped by {self._told[0]}; run the recipe again to go on")
            if not self._told and not self._processes.keys() & set(names):
                return
            time.sleep(LOOK_SECONDS)

    def _ended(self, name: str, process: subprocess.Popen) -> None:
        del self._processes[name]
        # A training that was told to stop saves and exits successfully, but it is not done.
        self._say(name, f"stopped by {self._told[0]}" if self._told else process.returncode)
        if process.returncode and not self._told:
            self._stop_all()
            for other, running in list(self._processes.items()):
                running.wait()
                del self._processes[other]
                self._say(other, f"stopped because {name} failed")
            sys.exit(
                f"{name}: failed with exit code {process.returncode}, see above; run the recipe "
                "again to go on with it"
            )
        if self._told:
            self._stopped.append(name)

    def _stop_all(self) -> None:
        for process in self._processes.values():
            process.terminate()

    def _say(self, name: str, ended: int | str | None) -> None:
        now = time.monotonic()
        self._note(name, now - self._noted[name], ended)
        self._noted[name] = now
