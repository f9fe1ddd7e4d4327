"""A run on two ranks: both compute, the first one writes."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist

from anchorweave.run_config import RunConfig

Run = TypeVar("Run", bound=RunConfig)


@contextlib.contextmanager
def together(config: Run) -> Iterator[Run]:
    """The config of this rank's run, which is `config` where one rank runs.

    Args:
        config: of the run; `model.split` says whether it is of two ranks.

    Raises:
        ValueError: not started on two ranks, or a memory bank that both would write.
    """
    if config.model.split == "none":
        yield config
        return
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if ranks != 2:
        raise ValueError(
            f"model.split={config.model.split} is for two ranks, and this run was started on "
            f"{ranks}; start it by torchrun --nproc-per-node 2 -m inference.sample"
        )
    if config.memory.path is not None:
        raise ValueError(
            f"model.split={config.model.split}: two ranks cannot both write memory.path="
            f"{config.memory.path}; leave one of them out"
        )
    gpus = torch.cuda.device_count()
    if gpus >= ranks:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if gpus >= ranks else "gloo")
    try:
        if dist.get_rank() == 0:
            yield config
        else:
            with (
                tempfile.TemporaryDirectory() as folder,
                open(os.devnull, "w") as nowhere,
                contextlib.redirect_stdout(nowhere),
            ):
                yield replace(config, output=str(Path(folder) / "output"))
    finally:
        dist.destroy_process_group()
