"""Logging of a run's numbers: `log.jsonl` always, wandb and tensorboard if requested."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import GeneralTracker, on_main_process

from anchorweave.datasets.fingerprint import flat
from anchorweave.files import atomic_write
from training.options.training import TrainConfig

LOG = "log.jsonl"
# In each line: CRC-32 of everything else in it.
SUM = "crc32"


class JsonLines(GeneralTracker):
    """One JSON object per line; `samples` adds per-sample values.

    Args:
        path: the file; appended to if it exists.
    """

    name = "jsonl"
    requires_logging_directory = False

    def __init__(self, path: Path):
        super().__init__()
        self.path = path

    @property
    def tracker(self) -> Path:
        """The file."""
        return self.path

    @on_main_process
    def log(
        self, values: dict, step: int | None = None, samples: dict[str, Any] | None = None
    ) -> None:
        """Appends a line."""
        with self.path.open("a") as file:
            file.write(_line({"step": step, **values, **(samples or {})}))

    @on_main_process
    def rewind(self, step: int) -> None:
        """Removes steps from `step` on: a resumed run repeats them.

        Reports unreadable lines, and missing lines of steps before `step`.
        """
        if not self.path.exists():
            return
        for problem in log_problems(self.path, step):
            print(problem, flush=True)
        records = [r for r in read_log(self.path) if r["step"] < step]
        with atomic_write(self.path) as aside:
            aside.write_text("".join(_line(record) for record in records))


def read_log(path: Path) -> list[dict]:
    """The records of a log, without lines corrupted by a kill, a power failure or a bad disk."""
    return _parsed(path)[0]


def log_problems(path: Path, done: int) -> list[str]:
    """Problems of a log, one line each: unreadable lines, and missing steps.

    A file truncated at the end of a line looks intact; only its step numbers reveal it.

    Args:
        path: the log. If the run was resumed from a checkpoint of another folder, steps before its
            own first one are not expected.
        done: number of steps done.
    """
    records, unreadable = _parsed(path)
    problems = []
    if unreadable:
        lines = ", ".join(map(str, unreadable))
        problems.append(f"{path}: cannot read line {lines}; skipped")
    logged = {record["step"] for record in records}
    lost = [step for step in range(min(logged, default=0), done) if step not in logged]
    if lost:
        span = f"step {lost[0]}" if len(lost) == 1 else f"{len(lost)} steps from {lost[0]} on"
        problems.append(f"{path}: has no line for {span}; the weights are not affected")
    return problems


def _line(record: dict) -> str:
    """A record with its checksum, as it is written."""
    return json.dumps({**record, SUM: _sum(record)}) + "\n"


def _sum(record: dict) -> int:
    return zlib.crc32(json.dumps(record).encode())


def _parsed(path: Path) -> tuple[list[dict], list[int]]:
    """Valid records, and the numbers of invalid lines."""
    records, unreadable = [], []
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if not line:
            continue
        try:
            record = json.loads(line)
            if not isinstance(record["step"], int):
                raise TypeError("no step")
            # Lines written by an earlier version have none.
            if SUM in record and record.pop(SUM) != _sum(record):
                raise ValueError("another sum")
        except (ValueError, KeyError, TypeError):
            unreadable.append(number)
        else:
            records.append(record)
    return records, unreadable


def start_trackers(config: TrainConfig, accelerator: Accelerator, step: int) -> None:
    """Opens all trackers, the log truncated to `step`."""
    output = Path(config.output)
    journal = JsonLines(output / LOG)
    journal.rewind(step)
    logging = config.logging
    accelerator.log_with = [journal, *logging.trackers]
    accelerator.project_configuration.set_directories(str(output))
    plain = (str, int, float, bool)
    accelerator.init_trackers(
        logging.project,
        {key: v if isinstance(v, plain) else str(v) for key, v in flat(asdict(config)).items()},
        {"wandb": {"mode": logging.wandb_mode, "dir": str(output), "name": output.name}},
    )
