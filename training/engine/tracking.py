"""Where a run's numbers go: `log.jsonl` always, wandb and tensorboard where asked for."""

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
# Of each line: CRC-32 of all else that is in it.
SUM = "crc32"


class JsonLines(GeneralTracker):
    """One JSON object a line; `samples` adds what belongs to single samples.

    Args:
        path: the file, which is gone on with where it exists.
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
        """Append a line."""
        with self.path.open("a") as file:
            file.write(_line({"step": step, **values, **(samples or {})}))

    @on_main_process
    def rewind(self, step: int) -> None:
        """Forget steps from `step` on: a run that goes on from there takes them again.

        Lines that cannot be read, and steps before `step` that have none, are said.
        """
        if not self.path.exists():
            return
        for problem in log_problems(self.path, step):
            print(problem, flush=True)
        kept = [r for r in read_log(self.path) if r["step"] < step]
        with atomic_write(self.path) as aside:
            aside.write_text("".join(_line(record) for record in kept))


def read_log(path: Path) -> list[dict]:
    """The records of a log; a line that a kill, a power cut or a bad disk spoiled is left out."""
    return _parsed(path)[0]


def log_problems(path: Path, done: int) -> list[str]:
    """What a log lacks, a line each: lines that cannot be read, steps that have none.

    A file that was cut at the end of a line looks whole; only the numbers of its steps tell.

    Args:
        path: of the log. One of a run that went on from a checkpoint of another folder has nothing
            before its own first step.
        done: how many steps are.
    """
    records, unreadable = _parsed(path)
    problems = []
    if unreadable:
        lines = ", ".join(map(str, unreadable))
        problems.append(f"{path}: cannot read line {lines}; left out")
    there = {record["step"] for record in records}
    lost = [step for step in range(min(there, default=0), done) if step not in there]
    if lost:
        span = f"step {lost[0]}" if len(lost) == 1 else f"{len(lost)} steps from {lost[0]} on"
        problems.append(f"{path}: has no line of {span}; the weights lost nothing by it")
    return problems


def _line(record: dict) -> str:
    """A record with its sum, as it is written."""
    return json.dumps({**record, SUM: _sum(record)}) + "\n"


def _sum(record: dict) -> int:
    return zlib.crc32(json.dumps(record).encode())


def _parsed(path: Path) -> tuple[list[dict], list[int]]:
    """Records, and the numbers of lines that are none."""
    records, unreadable = [], []
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if not line:
            continue
        try:
            record = json.loads(line)
            if not isinstance(record["step"], int):
                raise TypeError("no step")
            # Lines that an earlier version wrote have none.
            if SUM in record and record.pop(SUM) != _sum(record):
                raise ValueError("another sum")
        except (ValueError, KeyError, TypeError):
            unreadable.append(number)
        else:
            records.append(record)
    return records, unreadable


def start_trackers(config: TrainConfig, accelerator: Accelerator, step: int) -> None:
    """Opens all of them, the log rewound to `step`."""
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
