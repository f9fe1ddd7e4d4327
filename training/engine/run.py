"""Run: the state of one training run, and how it is saved and resumed."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim import Optimizer

from anchorweave.config import save_config
from anchorweave.models.ema import EMAModel
from training.engine.bad_clips import BadClips
from training.engine.batches import DrawnClips, RankBatches, training_calls
from training.engine.checkpoints import CONFIG, PROGRESS, Checkpoints
from training.engine.guards import GradientGuard
from training.engine.strategy import actual_strategy
from training.engine.weights import (
    fill,
    fill_optimizer,
    load_weights,
    optimizer_tensors,
    refuse_other_networks,
    save_weights,
    whole,
)
from training.networks.build import Networks
from training.options.training import TrainConfig

OPTIMIZER = "optimizer.safetensors"
DEEPSPEED = "deepspeed"
AVERAGE_SUFFIX = "_ema"


@dataclass
class Run:
    """One training run.

    Args:
        config: all of its options.
        accelerator: of accelerate.
        networks: the unwrapped networks.
        model: the denoiser as wrapped by the strategy; called in training.
        parameters: the trained ones, by name.
        optimizer: as prepared by accelerate.
        factor: learning-rate schedule: step -> fraction of the peak.
        average: EMA of the parameters, or None.
        guard: checks gradients.
        clips: clips with their random draws.
        bad_clips: policy for bad clips.
        checkpoints: the run's checkpoints.
        step: steps done.
    """

    config: TrainConfig
    accelerator: Accelerator
    networks: Networks
    model: nn.Module
    parameters: dict[str, nn.Parameter]
    optimizer: Optimizer
    factor: Callable[[int], float]
    average: EMAModel | None
    guard: GradientGuard
    clips: DrawnClips
    bad_clips: BadClips
    checkpoints: Checkpoints
    step: int = 0

    def calls(self) -> AbstractContextManager:
        """Context with this rank's calls, starting at the next step."""
        config, accelerator = self.config, self.accelerator
        batches = RankBatches(
            clips=len(self.clips.clips),
            batch=config.batch,
            per_process=config.batch_per_process,
            rank=accelerator.process_index,
            world=accelerator.num_processes,
            seed=config.seed,
            steps=(self.step, config.steps),
        )
        return training_calls(self.clips, batches, config.data.workers)

    def save(self, best: float | None = None) -> Path:
        """Saves a checkpoint after the current step; every rank must call this at the same time.

        Raises:
            RuntimeError: a trained weight is not finite; nothing is written.
        """
        live = {name: whole(p) for name, p in self.parameters.items()}
        if wrong := [name for name, value in live.items() if not value.isfinite().all()]:
            raise RuntimeError(
                f"step {self.step}: {wrong[0]} and {len(wrong) - 1} more of {len(live)} trained "
                "weights are not finite, so no checkpoint is written; lower "
                "optimizer.learning_rate and resume from an earlier one (resume=PATH)"
            )
        state = {}
        deepspeed = actual_strategy(self.model) == "zero2"
        if not deepspeed:
            state = optimizer_tensors(_plain(self.optimizer), self.parameters)
        average = None
        if self.average is not None:
            average = dict(zip(live, map(whole, self.average.shadow_params), strict=True))

        def write(folder: Path) -> None:
            save_weights(folder, self.networks.denoiser, live)
            if average is not None:
                save_weights(folder, self.networks.denoiser, average, AVERAGE_SUFFIX)
            if not deepspeed:
                save_file(state, folder / OPTIMIZER)
            (folder / PROGRESS).write_text(json.dumps(self._progress(), indent=1) + "\n")
            save_config(self.config, folder / CONFIG)

        def shared(folder: Path) -> None:
            self.accelerator.save_state(str(folder / DEEPSPEED), exclude_frozen_parameters=True)

        return self.checkpoints.save(self.step, write, shared if deepspeed else None, best)

    def restore(self, folder: Path) -> None:
        """Resumes from a checkpoint.

        Raises:
            ValueError: it has other networks, or exactly one of it and this run uses DeepSpeed.
        """
        progress = json.loads((folder / PROGRESS).read_text())
        deepspeed = actual_strategy(self.model) == "zero2"
        if deepspeed != (folder / DEEPSPEED).is_dir():
            raise ValueError(
                f"{folder} was written {'without' if deepspeed else 'with'} DeepSpeed, which "
                "stores its optimiser separately; resume it as it was written, or start a new run "
                "from its weights: " + self._anew(folder)
            )
        shapes = dict(self.parameters)
        refuse_other_networks(folder, self.networks.denoiser)
        for name, value in load_weights(folder, shapes).items():
            fill(self.parameters[name], value)
        if deepspeed:
            self.accelerator.load_state(str(folder / DEEPSPEED), load_module_strict=False)
        else:
            tensors = load_file(folder / OPTIMIZER)
            fill_optimizer(_plain(self.optimizer), self.parameters, tensors)
        if self.average is not None:
            if progress["average_steps"] is None:
                raise ValueError(
                    f"{folder} contains no EMA weights; set average.enabled=false as in that "
                    f"run, or start a new one: {self._anew(folder)}"
                )
            values = load_weights(folder, shapes, AVERAGE_SUFFIX)
            for shadow, value in zip(self.average.shadow_params, values.values(), strict=True):
                fill(shadow, value)
            self.average.optimization_step = progress["average_steps"]
        self.guard.restore(progress["guard"])
        self.step = progress["step"]

    def _anew(self, folder: Path) -> str:
        if self.config.model.woven:
            return f"model.controller={folder}/controller"
        return f"a model made by training.make_model with transformer={folder}/transformer"

    def _progress(self) -> dict:
        return {
            "step": self.step,
            "average_steps": None if self.average is None else self.average.optimization_step,
            "guard": self.guard.state(),
        }


def _plain(optimizer: Optimizer) -> Optimizer:
    """The optimiser wrapped by accelerate's."""
    return getattr(optimizer, "optimizer", optimizer)
