"""Distributes work over the processes started by accelerate (or a single one)."""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Item = TypeVar("Item")

# Processes synchronise only at the end, and may finish at very different times.
PATIENCE = timedelta(days=30)
# Seconds between lines if the output is not a terminal (a cluster's log).
LOG_SECONDS = 30.0


@dataclass(frozen=True)
class Tally:
    """Results of work on items.

    Args:
        made: number of items made.
        there: number of items that already existed.
        failed: what went wrong with the others, by name.
    """

    made: int = 0
    there: int = 0
    failed: Mapping[str, str] = field(default_factory=dict)

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.made + other.made, self.there + other.there, {**self.failed, **other.failed}
        )


class Shard:
    """This process's part of the work: item i belongs to process i % processes.

    The result for an item may depend only on that item, so that the number of processes does not
    matter.

    With more processes than GPUs, they share them: small networks do not fill one.

    Args:
        cpu: compute on the CPU even if there is a GPU.
    """

    def __init__(self, cpu: bool):
        gpus = 0 if cpu else torch.cuda.device_count()
        on_this_machine = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        # Without a GPU, accelerate recognises several processes only with cpu=True; and its GPU
        # process groups do not allow sharing a GPU. Our processes communicate only at the end.
        meets_on_cpu = gpus < on_this_machine
        self._state = PartialState(cpu=meets_on_cpu, timeout=PATIENCE)
        self.rank, self.count = self._state.process_index, self._state.num_processes
        self.device: torch.device = self._state.device
        if gpus and meets_on_cpu:
            self.device = torch.device("cuda", self._state.local_process_index % gpus)
            torch.cuda.set_device(self.device)
        self.is_main = self._state.is_main_process
        if self.count > 1:
            atexit.register(self._state.destroy_process_group)
        self.console = Console(quiet=not self.is_main)
        self._began = time.perf_counter()

    def of(self, items: Sequence[Item]) -> list[Item]:
        """The items of this process."""
        return list(items[self.rank :: self.count])

    def watch(self, items: Sequence[Item], what: str) -> Iterator[Item]:
        """Iterates the items; the first process shows its own progress and rate."""
        began = last = time.perf_counter()
        if not self.console.is_terminal:
            for done, item in enumerate(items):
                if time.perf_counter() - last > LOG_SECONDS:
                    last = time.perf_counter()
                    rate = _rate(done, last - began)
                    self.console.print(f"{what}: {done} of {len(items)} in this process, {rate}")
                yield item
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        rate = (TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
        with Progress(*columns, *rate, console=self.console) as progress:
            task = progress.add_task(what, total=len(items), rate="")
            for done, item in enumerate(items, 1):
                yield item
                progress.update(task, completed=done, rate=_rate(done, time.perf_counter() - began))

    def run(self, items: Sequence[Item], do: Callable[[Item], Tally], what: str) -> Tally:
        """Processes this process's share of `items`, and sums up the results."""
        return sum((do(item) for item in self.watch(self.of(items), what)), Tally())

    def say(self, what: str) -> None:
        """Prints a message from this process."""
        where = f"process {self.rank} of {self.count}: " if self.count > 1 else ""
        Console().print(f"{where}{what}", markup=False, soft_wrap=True)

    def finish(self, tally: Tally, what: str) -> None:
        """Waits for all processes, and prints their combined results.

        Raises:
            SystemExit: an item failed; the message names all that did.
        """
        tallies = gather_object([tally])
        together = sum(tallies, Tally())
        seconds = time.perf_counter() - self._began
        summary = (
            f"{what}: {together.made} made, {together.there} existed, "
            f"{len(together.failed)} failed; {seconds:.1f} s in {self.count} process(es)"
        )
        if together.made:
            summary += f", {_rate(together.made, seconds)}"
        self.console.print(summary, markup=False, soft_wrap=True)
        for name, reason in together.failed.items():
            self.console.print(f"  failed: {name}: {reason}", markup=False, soft_wrap=True)
        if together.failed:
            raise SystemExit(1)


def _rate(done: int, seconds: float) -> str:
    per_second = done / max(seconds, 1e-9)
    return f"{per_second:.1f} a second" if per_second >= 1 else f"{60 * per_second:.1f} a minute"
