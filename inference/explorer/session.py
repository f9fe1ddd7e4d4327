"""Session: a running exploration, independent of any browser: state, memory, background job.

Everything the page or a test does goes through here. One lock serialises changes; long work runs in
one `Job`, which changes the state when it is done.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from anchorweave.anchors import Retrieved
from anchorweave.config import save_config
from anchorweave.geometry.cameras import Cameras
from anchorweave.memory import Bank, Memory
from anchorweave.retrieval import CoarseViews
from inference.explorer import drawing
from inference.explorer.beginning import begin
from inference.explorer.config import ExploreConfig
from inference.explorer.jobs import Job
from inference.explorer.live import Looked, look
from inference.explorer.places import remove_leftovers
from inference.explorer.sight import Sight, look_along
from inference.explorer.splines import refuse_half_turns
from inference.explorer.state import Drawn, Explored, save_state
from inference.explorer.versions import remove_unfinished, version_path
from inference.explorer.views import Views
from inference.runs.output import memory_over


class Session:
    """An exploration.

    Args:
        config: config of the run, whose output folder is locked by this process.

    Attributes:
        state: the state; changed by this class only.
        memory: the current version, as the chosen memory system.
        prompt: default prompt of segments.
        job: the running or last background job.
    """

    def __init__(self, config: ExploreConfig):
        self.config = config
        self.output = Path(config.output)
        self.output.mkdir(parents=True, exist_ok=True)
        save_config(config, self.output / "config.yaml")
        self.lock = threading.RLock()
        self.job: Job | None = None
        self.changed: list[Callable[[bool], None]] = []
        self.ended: list[Callable[[str | None], None]] = []
        self._asking = threading.Lock()
        self.state, self.prompt = begin(config)
        remove_unfinished(self.output, self.state)
        remove_leftovers(self.output)
        self.memory = self.opened()
        self._views = Views(config, self.bank)

    # Viewing

    @property
    def bank(self) -> Bank:
        """The frames of the current version."""
        return self.memory.bank

    @property
    def busy(self) -> bool:
        """Whether a background job is running."""
        return self.job is not None and self.job.alive

    def look(self, camera: Cameras) -> Looked:
        """What memory knows of one view [1]."""
        with self._asking:
            return look(self.memory, camera)

    def retrieve(self, memory: Memory, cameras: Cameras) -> Retrieved:
        """Retrieves from a memory of this exploration for cameras [T]; one request at a time."""
        with self._asking:
            return memory.retrieve(cameras)

    def views(self) -> CoarseViews:
        """Coarse views of the memories, whatever the system."""
        return self._views.coarse()

    def look_along(self, origin: torch.Tensor, directions: torch.Tensor) -> Sight:
        """Which memories have seen the surfaces along rays [R, 3]."""
        return look_along(self._views.fine(), origin, directions)

    def view(self, c2w: torch.Tensor) -> Cameras:
        """The camera [1] of a view, with the intrinsics of the newest frame.

        Args:
            c2w: its pose [4, 4].

        Raises:
            ValueError: the memory is empty, so that no intrinsics are known.
        """
        newest = self._frame_camera(None)
        c2w = c2w.to(newest.c2w)
        return replace(newest, c2w=c2w[None], K=newest.K[None])

    # Drawing

    @property
    def start(self) -> Cameras:
        """The start camera of the path.

        Raises:
            ValueError: the memory is empty.
        """
        return self._frame_camera(self.state.drawn.start)

    @property
    def start_number(self) -> int:
        """The number of the start frame of the path."""
        start = self.state.drawn.start
        return len(self.bank) - 1 if start is None else start

    def segments(self) -> int:
        """Number of segments of the path."""
        if not self.state.drawn.keyframes or not len(self.bank):
            return 0
        drawn, config = self.state.drawn, self.config
        return drawing.segment_count(drawn, self.start, config.frames, self.state.unit)

    def path(self) -> Cameras:
        """The cameras of the whole path.

        Raises:
            ValueError: the memory is empty, or the path has no keyframes.
        """
        drawn, config = self.state.drawn, self.config
        return drawing.path_cameras(drawn, self.start, config.frames, self.state.unit)

    def problem(self) -> str | None:
        """Why the drawn path is invalid; None if it is valid or empty.

        Its start may have changed since it was drawn.
        """
        if not self.state.drawn.keyframes or not len(self.bank):
            return None
        try:
            self.path()
        except ValueError as error:
            return str(error)
        return None

    def draw(self, change: Callable[[Drawn, Cameras], Drawn]) -> None:
        """Changes the path.

        Args:
            change: maps the path and its start camera to the new path.

        Raises:
            ValueError: a segment is pending, the path has an ambiguous half turn, or whatever
                `change` raises.
        """
        with self.lock:
            self._refuse_drawing("draw on")
            drawn = change(self.state.drawn, self.start)
            start = self._frame_camera(drawn.start)
            if drawn.keyframes != self.state.drawn.keyframes:
                refuse_half_turns(drawing.keyframe_cameras(drawn, start).c2w[:, :3, :3])
            self.keep(self.state.draw(drawn))

    def undo(self) -> None:
        """Undoes the last change of the path.

        Raises:
            ValueError: there was none.
        """
        with self.lock:
            self._refuse_drawing("undo")
            self.keep(self.state.undo())

    def redo(self) -> None:
        """Redoes the last undone change.

        Raises:
            ValueError: nothing was undone.
        """
        with self.lock:
            self._refuse_drawing("redo")
            self.keep(self.state.redo())

    def choose(self, number: int | None) -> None:
        """Selects a keyframe (0, 1, ...) of the path, or none.

        Raises:
            ValueError: no keyframe with this number.
        """
        with self.lock:
            self.keep(self.state.choose(number))

    def select(self, number: int | None) -> None:
        """Selects a remembered frame, or none."""
        with self.lock:
            if number is not None and not 0 <= number < len(self.bank):
                raise ValueError(f"there is no memory {number}; there are {len(self.bank)}")
            self.keep(replace(self.state, selected=number))

    # Versions

    def revert(self) -> None:
        """Shelves the pending segment, or else goes back one version.

        Raises:
            ValueError: nothing to revert, or a job is running.
        """
        with self.lock:
            self.refuse_busy()
            self.switch(self.state.revert())

    def go_to(self, number: int) -> None:
        """Switches to another version.

        Raises:
            ValueError: no version with this number, or a job is running.
        """
        with self.lock:
            self.refuse_busy()
            self.switch(self.state.go_to(number))

    def bring_back(self, number: int) -> None:
        """Makes a shelved segment pending again.

        Raises:
            ValueError: no such segment, or a job is running.
        """
        with self.lock:
            self.refuse_busy()
            self.switch(self.state.bring_back(number))

    def look_through(self, kind: str) -> None:
        """Switches to another memory system.

        Raises:
            ValueError: a job is running, or the system cannot open the memory.
        """
        with self.lock:
            self.refuse_busy()
            self.switch(replace(self.state, kind=kind))

    def follow(self) -> int:
        """Loads frames that another process added to the initial memory.

        Returns:
            Number of frames that are not loaded yet; they are loaded if the initial version is the
            current one and no job is running.
        """
        with self.lock:
            loaded = len(self.bank) if self.state.current == 0 else None
            if loaded is None or self.busy:
                return 0
            bank = Bank(self.bank.path)
            more = len(bank) - loaded
            if more > 0:
                self.switch(self.state)
            return max(more, 0)

    # Work in the background

    def work(self, what: str, work: Callable[[Job], None]) -> Job:
        """Starts a background job.

        Args:
            what: its description.
            work: see `Job`.

        Raises:
            ValueError: another job is running.
        """
        with self.lock:
            self.refuse_busy()
            self.job = Job(what, work, self._ended)
            self.job.start()
            return self.job

    def refuse_busy(self) -> None:
        """Rejects changes to what the running job works with.

        Raises:
            ValueError: names the job.
        """
        if self.busy and self.job is not None:
            raise ValueError(f"{self.job.progress.what}: wait until it is done, or cancel it")

    def keep(self, state: Explored, memory: bool = False) -> None:
        """Saves a new state, then switches to it.

        Args:
            state: the new state.
            memory: whether the memory changed with it.

        Raises:
            OSError: it cannot be written; the old one is kept.
        """
        with self.lock:
            save_state(state, self.output)
            self.state = state
        for tell in self.changed:
            tell(memory)

    def switch(self, state: Explored, memory: Memory | None = None) -> None:
        """Switches to a state with another memory.

        Args:
            state: the new state.
            memory: the memory of its version, if already open.
        """
        memory = memory or self.opened(state)
        with self.lock, self._asking:
            save_state(state, self.output)
            self.state, self.memory = state, memory
            self._views = Views(self.config, memory.bank)
        for tell in self.changed:
            tell(True)

    def opened(self, state: Explored | None = None) -> Memory:
        """The memory of a state's current version, read from disk."""
        state = state or self.state
        return self.memory_over(Bank(version_path(self.output, state, state.current)), state.kind)

    def memory_over(self, bank: Bank, kind: str) -> Memory:
        """A memory system of the run over a bank.

        Raises:
            ValueError: frames of another size than the run's.
        """
        if len(bank) and bank.cameras.size != tuple(self.config.size):
            raise ValueError(
                f"the memory bank {bank.path} holds frames of {bank.cameras.size} (height, width), "
                f"but size={list(self.config.size)}; use the same size, or another memory.path"
            )
        config = replace(self.config, memory=replace(self.config.memory, kind=kind))
        return memory_over(config, bank)

    def _frame_camera(self, number: int | None) -> Cameras:
        if not len(self.bank):
            raise ValueError(
                f"the memory {self.bank.path} is empty: there is nothing to start from"
            )
        if number is not None and not 0 <= number < len(self.bank):
            raise ValueError(f"there is no memory {number}; there are {len(self.bank)}")
        return self.bank.cameras[len(self.bank) - 1 if number is None else number]

    def _refuse_drawing(self, what: str) -> None:
        self.refuse_busy()
        if self.state.pending is not None:
            raise ValueError(
                f"segment {self.state.pending} of this path is pending; accept or revert it "
                f"before you {what}"
            )

    def _ended(self, said: str | None) -> None:
        for tell in self.ended:
            tell(said)
