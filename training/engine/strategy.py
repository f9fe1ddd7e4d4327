"""Distribution of a run: checked before anything is loaded, and verified at the end of setup.

Precision is the same for every strategy: trained weights are float32, the networks run under
torch's own autocast, and the launcher's precision options are not used. No strategy casts weights.
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
from training.engine.sharding import check_sharding
from training.options.training import TrainConfig

BREATH = 0.2
TRACKER_MODULES = {"wandb": ("wandb",), "tensorboard": ("tensorboard", "tensorboardX")}


def launched_strategy(environ: Mapping[str, str] = os.environ) -> str:
    """How this process was launched: `single`, `ddp`, `fsdp1`, `fsdp2`, `zero1`, ..."""
    if environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true":
        return f"zero{environ.get('ACCELERATE_DEEPSPEED_ZERO_STAGE', '2')}"
    if environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true":
        return f"fsdp{environ.get('FSDP_VERSION', '1')}"
    # Same rule as in accelerate: one rank of torchrun is a group of one.
    return "ddp" if world_size(environ) > 1 or "LOCAL_RANK" in environ else "single"


def world_size(environ: Mapping[str, str] = os.environ) -> int:
    """Number of ranks this process was launched with."""
    return int(environ.get("WORLD_SIZE", "1"))


def check_launch(config: TrainConfig, environ: Mapping[str, str] = os.environ) -> None:
    """Refuses contradictory or unavailable options before anything is loaded.

    Raises:
        ValueError: a strategy, precision or accumulation other than the launcher's, an
            unsupported strategy, modules to shard other than the blocks, or a package that is not
            installed.
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
            f"this run was launched as {launched}; training supports one process, DDP, FSDP "
            "version 2 and DeepSpeed stage 2"
        )
    if launched == "fsdp2":
        check_sharding(environ)
    config.refuse_sharded(launched)
    if "zero2" in (launched, config.strategy) and not importlib.util.find_spec("deepspeed"):
        raise ValueError(
            "DeepSpeed is requested but not installed; pip install deepspeed, or launch with "
            "configs/accelerate/eight_gpus_fsdp2.yaml, which shards more and needs no package"
        )
    if launched in ("fsdp2", "zero2") and config.validation.videos:
        raise ValueError(
            f"validation.videos={config.validation.videos} samples on every rank separately, which "
            f"{launched} cannot; set validation.videos=0 and sample from a checkpoint"
        )
    mixed = environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if mixed != "no":
        raise ValueError(
            f"the launcher sets mixed_precision={mixed}, but precision is set by this config "
            f"(precision={config.precision}); set mixed_precision: 'no' for the launcher"
        )
    calls = calls_per_step(config.batch, config.batch_per_process, world_size(environ))
    accumulation = int(environ.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1"))
    if accumulation not in (1, calls):
        raise ValueError(
            f"the launcher sets {accumulation} accumulation steps, but batch={config.batch} in "
            f"calls of {config.batch_per_process} makes {calls}; remove it from the launcher's file"
        )
    for tracker in config.logging.trackers:
        modules = TRACKER_MODULES.get(tracker)
        if modules is None:
            raise ValueError(
                f"logging.trackers is any of {', '.join(TRACKER_MODULES)}; got {tracker}"
            )
        if not any(importlib.util.find_spec(module) for module in modules):
            raise ValueError(
                f"logging.trackers includes {tracker}, which is not installed; pip install "
                f"{modules[0]}, or leave it out (log.jsonl is always written)"
            )


@contextmanager
def ranks_together(config: TrainConfig) -> Iterator[Accelerator]:
    """Context that sets up the process group of a run and always takes it down cleanly."""
    accelerator = make_accelerator(config)
    try:
        yield accelerator
        accelerator.wait_for_everyone()
    finally:
        # Destroying a gloo group waits for its threads while holding the GIL, which a thread that
        # is just releasing the tensors of the last call needs: a deadlock. Releasing the GIL for a
        # moment lets such threads finish first.
        time.sleep(BREATH)
        accelerator.end_training()


def make_accelerator(config: TrainConfig) -> Accelerator:
    """The accelerator for this run; call `check_launch` first."""
    accelerator = Accelerator(
        mixed_precision="no",
        # By default, accelerate treats several processes without a GPU as separate runs.
        cpu=not torch.cuda.is_available(),
        gradient_accumulation_plugin=GradientAccumulationPlugin(
            num_steps=calls_per_step(config.batch, config.batch_per_process, world_size()),
            sync_with_dataloader=False,
        ),
        kwargs_handlers=[
            InitProcessGroupKwargs(timeout=timedelta(minutes=config.timeout_minutes)),
            # Every trained weight gets a gradient in every call, possibly zero, even if no anchor
            # is visible. So DDP need not search the graph for unused ones.
            DistributedDataParallelKwargs(
                find_unused_parameters=False, broadcast_buffers=False, gradient_as_bucket_view=True
            ),
        ],
        step_scheduler_with_optimizer=False,
    )
    if plugin := accelerator.state.deepspeed_plugin:
        # DeepSpeed needs what accelerate would read from a loader, and clips gradients itself.
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
    """The strategy that a prepared model actually uses, by its type."""
    names = {kind.__name__ for kind in type(model).__mro__}
    if "FSDPModule" in names:
        return "fsdp2"
    if "DeepSpeedEngine" in names:
        return "zero2"
    return "ddp" if "DistributedDataParallel" in names else "single"


def assert_as_launched(config: TrainConfig, accelerator: Accelerator, model: nn.Module) -> str:
    """One line that describes the run's actual setup, after verifying it.

    Raises:
        RuntimeError: it differs from the requested one.
    """
    parameters = list(model.parameters())
    trained = [p for p in parameters if p.requires_grad]
    frozen = [p for p in parameters if not p.requires_grad]
    expected = {
        "strategy": (launched_strategy(), actual_strategy(model)),
        "world size": (world_size(), accelerator.num_processes),
        "calls per step": (
            calls_per_step(config.batch, config.batch_per_process, world_size()),
            accelerator.gradient_accumulation_steps,
        ),
        "trained weights": ({torch.float32}, {p.dtype for p in trained}),
    }
    for what, (asked, actual) in expected.items():
        if asked != actual:
            raise EndedError(f"{what}: asked for {asked}, but the run has {actual}")
    compute, dtype = "float32", computing_dtype(config.precision, accelerator.device)
    if dtype == torch.bfloat16:
        about = slowness(dtype, accelerator.device)
        compute = f"bfloat16 (autocast{f': {about}' if about else ''})"
    frozen_dtypes = "/".join(
        sorted(str(dtype).removeprefix("torch.") for dtype in {p.dtype for p in frozen})
    )
    ranks, calls = accelerator.num_processes, accelerator.gradient_accumulation_steps
    return (
        f"strategy {actual_strategy(model)}, {ranks} rank(s) on {accelerator.device.type}, "
        f"compute {compute}, {sum(p.numel() for p in trained):,} trained weights in float32, "
        f"{sum(p.numel() for p in frozen):,} frozen ones in {frozen_dtypes or '-'}, "
        f"batch {config.batch} = {ranks} x {calls} x {config.batch_per_process} "
        "(ranks x calls x clips)"
    )
