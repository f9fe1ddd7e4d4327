"""What a run is spread by: checked before anything is loaded, asserted when all is made.

Precision is the same for every strategy: what is trained is float32, the networks compute under
torch's own autocast, and the launcher is told nothing of it. No strategy casts any weights.
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.utils import GradientAccumulationPlugin
from torch import nn

from anchorweave.errors import EndedError
from anchorweave.models.precision import computing_dtype, slowness
from training.engine.batches import calls_per_step
from training.options.training import TrainConfig

BREATH = 0.2
TRACKER_MODULES = {"wandb": ("wandb",), "tensorboard": ("tensorboard", "tensorboardX")}


def launched_strategy(environ: Mapping[str, str] = os.environ) -> str:
    """`single`, `ddp`, `fsdp1`, `fsdp2`, `zero1`, ...: what this process was launched with."""
    if environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true":
        return f"zero{environ.get('ACCELERATE_DEEPSPEED_ZERO_STAGE', '2')}"
    if environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true":
        return f"fsdp{environ.get('FSDP_VERSION', '1')}"
    # As accelerate decides: one rank of torchrun is a group of one.
    return "ddp" if world_size(environ) > 1 or "LOCAL_RANK" in environ else "single"


def world_size(environ: Mapping[str, str] = os.environ) -> int:
    """How many ranks this process was launched with."""
    return int(environ.get("WORLD_SIZE", "1"))


def check_launch(config: TrainConfig, environ: Mapping[str, str] = os.environ) -> None:
    """Refuse what contradicts itself or cannot be had, before anything is loaded.

    Raises:
        ValueError: another strategy, precision or accumulation than the launcher was told, a
            strategy that is not supported, or a package that is not installed.
    """
    launched = launched_strategy(environ)
    if config.strategy not in ("any", launched):
        raise ValueError(
            f"strategy={config.strategy}, but this run was launched as {launched}; launch it with "
            "the matching file of configs/accelerate/ (and without --multi_gpu, which makes the "
            "launcher ignore DeepSpeed and FSDP), or set strategy=any"
        )
    if launched not in ("single", "ddp", "fsdp2", "zero2"):
        raise ValueError(
            f"this run was launched as {launched}; training knows one process, DDP, FSDP version 2 "
            "and DeepSpeed stage 2"
        )
    config.refuse_sharded(launched)
    if "zero2" in (launched, config.strategy) and not importlib.util.find_spec("deepspeed"):
        raise ValueError(
            "DeepSpeed is asked for and not installed; pip install deepspeed, or launch with "
            "configs/accelerate/eight_gpus_fsdp2.yaml, which shards more and needs no package"
        )
    if launched in ("fsdp2", "zero2") and config.validation.videos:
        raise ValueError(
            f"validation.videos={config.validation.videos} samples on every rank by itself, which "
            f"{launched} cannot; set validation.videos=0 and sample from a checkpoint"
        )
    mixed = environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if mixed != "no":
        raise ValueError(
            f"the launcher was told mixed_precision={mixed}, but precision is this config's "
            f"(precision={config.precision}); set mixed_precision: 'no' for the launcher"
        )
    calls = calls_per_step(config.batch, config.batch_per_process, world_size(environ))
    told = int(environ.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1"))
    if told not in (1, calls):
        raise ValueError(
            f"the launcher was told to accumulate {told} calls, but batch={config.batch} in calls "
            f"of {config.batch_per_process} makes {calls}; leave it out of the launcher's file"
        )
    for tracker in config.logging.trackers:
        modules = TRACKER_MODULES.get(tracker)
        if modules is None:
            raise ValueError(f"logging.trackers knows {', '.join(TRACKER_MODULES)}; met {tracker}")
        if not any(importlib.util.find_spec(module) for module in modules):
            raise ValueError(
                f"logging.trackers asks for {tracker}, which is not installed; pip install "
                f"{modules[0]}, or leave it out (log.jsonl is always written)"
            )


@contextmanager
def ranks_together(config: TrainConfig) -> Iterator[Accelerator]:
    """What holds the ranks of a run together, with an orderly end, by an error or not."""
    accelerator = make_accelerator(config)
    try:
        yield accelerator
        accelerator.wait_for_everyone()
    finally:
        # Taking a gloo group apart waits for its threads while it holds Python's lock, and a thread
        # that is just letting go of the last call's tensors wants that lock: both wait for ever.
        # With the lock free for a moment they are done before.
        time.sleep(BREATH)
        accelerator.end_training()


def make_accelerator(config: TrainConfig) -> Accelerator:
    """Accelerate as this run needs it; `check_launch` comes first."""
    accelerator = Accelerator(
        mixed_precision="no",
        # Told nothing, it takes several processes without a GPU for so many single ones.
        cpu=not torch.cuda.is_available(),
        gradient_accumulation_plugin=GradientAccumulationPlugin(
            num_steps=calls_per_step(config.batch, config.batch_per_process, world_size()),
            sync_with_dataloader=False,
        ),
        kwargs_handlers=[
            InitProcessGroupKwargs(timeout=timedelta(minutes=config.timeout_minutes)),
            # Every trained weight gets a gradient in every call, be it of zeros: where no anchor is
            # visible, too. So DDP need not search the graph for unused ones.
            DistributedDataParallelKwargs(
                find_unused_parameters=False, broadcast_buffers=False, gradient_as_bucket_view=True
            ),
        ],
        step_scheduler_with_optimizer=False,
    )
    if plugin := accelerator.state.deepspeed_plugin:
        # DeepSpeed wants to know what accelerate reads off a loader, and clips by itself.
        plugin.deepspeed_config["train_micro_batch_size_per_gpu"] = config.batch_per_process
        plugin.deepspeed_config["gradient_clipping"] = config.optimizer.clip
        plugin.deepspeed_config["gradient_accumulation_steps"] = calls_per_step(
            config.batch, config.batch_per_process, world_size()
        )
    return accelerator


def compute_in(config: TrainConfig, device: torch.device) -> torch.autocast:
    """The autocast that networks run under."""
    short = computing_dtype(config.precision, device) == torch.bfloat16
    return torch.autocast(device.type, torch.bfloat16, enabled=short)


def actual_strategy(model: nn.Module) -> str:
    """The strategy that a prepared model is really in, by what it has become."""
    names = {kind.__name__ for kind in type(model).__mro__}
    if "FSDPModule" in names:
        return "fsdp2"
    if "DeepSpeedEngine" in names:
        return "zero2"
    return "ddp" if "DistributedDataParallel" in names else "single"


def assert_as_launched(config: TrainConfig, accelerator: Accelerator, model: nn.Module) -> str:
    """One line that says what the run really runs with, after a check that it was asked for.

    Raises:
        RuntimeError: it is something else.
    """
    parameters = list(model.parameters())
    trained = [p for p in parameters if p.requires_grad]
    frozen = [p for p in parameters if not p.requires_grad]
    expected = {
        "strategy": (launched_strategy(), actual_strategy(model)),
        "world size": (world_size(), accelerator.num_processes),
        "calls a step": (
            calls_per_step(config.batch, config.batch_per_process, world_size()),
            accelerator.gradient_accumulation_steps,
        ),
        "trained weights": ({torch.float32}, {p.dtype for p in trained}),
    }
    for what, (asked, met) in expected.items():
        if asked != met:
            raise EndedError(f"{what}: asked for {asked}, but the run has {met}")
    compute, dtype = "float32", computing_dtype(config.precision, accelerator.device)
    if dtype == torch.bfloat16:
        about = slowness(dtype, accelerator.device)
        compute = f"bfloat16 (autocast{f': {about}' if about else ''})"
    kept = "/".join(
        sorted(str(dtype).removeprefix("torch.") for dtype in {p.dtype for p in frozen})
    )
    ranks, calls = accelerator.num_processes, accelerator.gradient_accumulation_steps
    return (
        f"strategy {actual_strategy(model)}, {ranks} rank(s) on {accelerator.device.type}, "
        f"compute {compute}, {sum(p.numel() for p in trained):,} trained weights in float32, "
        f"{sum(p.numel() for p in frozen):,} frozen ones in {kept or '-'}, batch {config.batch} = "
        f"{ranks} x {calls} x {config.batch_per_process} (ranks x calls x clips)"
    )
