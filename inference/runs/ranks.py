"""Runs on two ranks: both compute, the first one writes."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist

from anchorweave.run_config import RunConfig

Run = TypeVar("Run", bound=RunConfig)
# Whether this process is inside `together`, as one of several ranks.
_IN_COMPANY = ContextVar("in_company", default=False)


@contextlib.contextmanager
def together(config: Run) -> Iterator[Run]:
    """This rank's config; equal to `config` if there is only one rank.

    Args:
        config: config of the run; `model.split` says whether it uses two ranks.

    Raises:
        ValueError: not started on two ranks, or a memory bank that both would write.
    """
    if config.model.split == "none":
        yield config
        return
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if ranks != 2:
        raise ValueError(
            f"model.split={config.model.split} needs two ranks, but this run was started on "
            f"{ranks}; start it with torchrun --nproc-per-node 2 -m inference.sample"
        )
    if config.memory.path is not None:
        raise ValueError(
            f"model.split={config.model.split}: two ranks cannot both write memory.path="
            f"{config.memory.path}; remove one of them"
        )
    if torch.cuda.device_count() >= ranks:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    company = _IN_COMPANY.set(True)
    try:
        if int(os.environ["RANK"]) == 0:
            yield config
        else:
            with (
                tempfile.TemporaryDirectory() as folder,
                open(os.devnull, "w") as nowhere,
                contextlib.redirect_stdout(nowhere),
            ):
                yield replace(config, output=str(Path(folder) / "output"))
    finally:
        _IN_COMPANY.reset(company)
        if dist.is_initialized():
            dist.destroy_process_group()


def meet() -> None:
    """Enables communication between the ranks; call it once all of them have their networks.

    Until then each rank works alone, because transformers saves models on the first rank only. Has
    no effect outside `together`, where there is only one rank.
    """
    if not _IN_COMPANY.get():
        return
    ranks = int(os.environ["WORLD_SIZE"])
    dist.init_process_group("nccl" if torch.cuda.device_count() >= ranks else "gloo")
