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
from anchorweave.files import written_aside
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
        """Forget steps from `step` on: a run that goes on from there takes them again."""
        if not self.path.exists():
            return
        records, unreadable = _parsed(self.path)
        if unreadable:
            lines = ", ".join(map(str, unreadable))
            print(f"{self.path}: cannot read line {lines}; left out", flush=True)
        kept = [r for r in records if r["step"] < step]
        with written_aside(self.path) as aside:
            aside.write_text("".join(_line(record) for record in kept))


def read_log(path: Path) -> list[dict]:
    """The records of a log; a line that a kill, a power cut or a bad disk spoiled is left out."""
    return _parsed(path)[0]


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
