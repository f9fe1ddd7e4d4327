"""The training loop: runs steps until the end, or until the run is asked to stop."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate.utils import gather_object
from torch import Tensor

from anchorweave.datasets.layout import BadClip
from anchorweave.datasets.training_clip import Samples
from anchorweave.errors import EndedError
from training.engine.plots import write_plots
from training.engine.run import Run
from training.engine.signals import Stop
from training.engine.step import batch_losses
from training.engine.strategy import actual_strategy, compute_in
from training.engine.validation import Validation

# One row per sample, gathered from all ranks.
COLUMNS = ("place", "timestep", "total", "reconstruction", "motion", "visible")


@dataclass
class Outcome:
    """What all ranks know about one step.

    Args:
        rows: [batch, len(COLUMNS)], by place.
        norm: gradient norm before clipping.
        taken: whether the gradient was applied.
        stop: whether any rank was asked to stop.
        minutes: time since the last checkpoint, by the first rank's clock.
        clips: names of this rank's clips.
        waited: seconds that this rank waited for clips.
    """

    rows: Tensor
    norm: float
    taken: bool
    stop: bool
    minutes: float
    clips: list[str] = field(default_factory=list)
    waited: float = 0.0

    def column(self, name: str) -> list[float]:
        """One column of the rows."""
        return self.rows[:, COLUMNS.index(name)].tolist()


def train(run: Run, validation: Validation | None, stop: Stop) -> None:
    """Trains until `steps` are done or a signal arrives; ends with a checkpoint either way."""
    config, say = run.config, run.accelerator.print
    if validation is not None:
        validation.rehearse(run)
    if run.step >= config.steps:
        say(f"{run.step} steps are already done, and steps={config.steps}")
    with run.calls() as calls:
        _steps(run, validation, stop, calls)


def _steps(run: Run, validation: Validation | None, stop: Stop, calls: Iterator) -> None:
    config, say = run.config, run.accelerator.print
    saved_at, saved_step = time.monotonic(), run.step
    while run.step < config.steps:
        began = time.perf_counter()
        outcome = take_step(run, calls, stop, saved_at)
        _log(run, outcome, time.perf_counter() - began)
        step, run.step = run.step, run.step + 1
        last = run.step == config.steps

        best = None
        if validation is not None and not outcome.stop:
            metrics = validation.measure(run, step, last)
            if metrics:
                run.accelerator.log(metrics, step)
                say(f"step {run.step}: " + ", ".join(f"{k} {v:.4g}" for k, v in metrics.items()))
            best = _improved(run, metrics)
        due = run.step % config.checkpoints.every_steps == 0
        if config.checkpoints.every_minutes is not None:
            due = due or outcome.minutes >= config.checkpoints.every_minutes
        if due or last or outcome.stop or best is not None:
            path = run.save(best)
            saved_at, saved_step = time.monotonic(), run.step
            say(f"step {run.step}: saved {path}")
        if last or run.step % config.logging.picture_every == 0:
            if run.accelerator.is_main_process:
                write_plots(Path(config.output))
        if outcome.stop:
            say(f"step {run.step}: asked to stop ({stop.asked_by or 'by another rank'}), saved")
            return
    if saved_step != run.step:
        run.save()


def take_step(run: Run, calls: Iterator, stop: Stop, saved_at: float) -> Outcome:
    """One optimiser step, or none if the guard rejects it; all ranks get the same result."""
    config, accelerator = run.config, run.accelerator
    rate = config.optimizer.learning_rate * run.factor(run.step)
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    rows, bad, clips, waited = [], [], [], 0.0
    for _ in range(accelerator.gradient_accumulation_steps):
        asked = time.perf_counter()
        samples = next(calls)
        waited += time.perf_counter() - asked
        bad += _bad_of(run, samples)
        clips += samples.names
        with accelerator.accumulate(run.model):
            with compute_in(config, accelerator.device):
                losses = batch_losses(
                    run.model,
                    samples,
                    run.networks.process,
                    run.networks.positions,
                    config.objective,
                    run.networks.dtype,
                )
            accelerator.backward(losses.total.mean())
        rows.append(_rows(samples, losses))
    norm = accelerator.clip_grad_norm_(run.parameters.values(), config.optimizer.clip)
    norm = norm.full_tensor() if hasattr(norm, "full_tensor") else torch.as_tensor(norm)

    gathered = accelerator.gather(torch.cat(rows))
    header = [float(norm), stop.asked_by is not None, len(bad), (time.monotonic() - saved_at) / 60]
    headers = accelerator.gather(torch.tensor([header], device=accelerator.device))
    if headers[:, 2].any():
        run.bad_clips.record(gather_object(bad), accelerator.is_main_process)
    outcome = Outcome(
        rows=gathered[gathered[:, 0].argsort()].cpu(),
        norm=headers[:, 0].max().item(),
        taken=True,
        stop=bool(headers[:, 1].any()),
        minutes=headers[0, 3].item(),
        clips=clips,
        waited=waited,
    )
    outcome.taken = run.guard.allows(
        run.step, outcome.norm, bool(gathered[:, COLUMNS.index("total")].isfinite().all())
    )
    if outcome.taken:
        run.optimizer.step()
    elif actual_strategy(run.model) == "zero2":
        raise EndedError(
            f"step {run.step}: the guard rejects a gradient of norm {outcome.norm}, but "
            "DeepSpeed has already applied it; resume from the last checkpoint, or use DDP or FSDP2"
        )
    run.optimizer.zero_grad()
    if outcome.taken and run.average is not None:
        run.average.step(run.parameters.values())
    return outcome


def _bad_of(run: Run, call: Samples | tuple[BadClip, ...]) -> list[tuple[str, str]]:
    bad = call.bad if isinstance(call, Samples) else call
    run.bad_clips.refuse(bad)
    if not isinstance(call, Samples):
        raise ValueError(f"every clip is bad; the first: {bad[0]}. Run training.doctor")
    return [(str(error.path), error.reason) for error in bad]


def _rows(samples: Samples, losses) -> Tensor:
    place = torch.tensor(samples.places)
    visible = samples.anchors.visible_tokens.float().flatten(1)
    # Without anchors nothing is visible.
    visible = visible.mean(1) if visible.shape[1] else visible.new_zeros(len(place))
    like = losses.total.detach()
    columns = [place, samples.timestep, like, losses.reconstruction, losses.motion, visible]
    return torch.stack([column.detach().to(like) for column in columns], dim=1)


def _improved(run: Run, metrics: dict[str, float]) -> float | None:
    loss = metrics.get("validation/loss_average", metrics.get("validation/loss"))
    return loss if loss is not None and loss < run.checkpoints.best() else None


def _log(run: Run, outcome: Outcome, seconds: float) -> None:
    config, accelerator, step = run.config, run.accelerator, run.step
    values = {
        "loss": outcome.rows[:, COLUMNS.index("total")].mean().item(),
        "loss/reconstruction": outcome.rows[:, COLUMNS.index("reconstruction")].mean().item(),
        "loss/motion": outcome.rows[:, COLUMNS.index("motion")].mean().item(),
        "gradient_norm": outcome.norm,
        "learning_rate": run.optimizer.param_groups[0]["lr"],
        "anchors_visible": outcome.rows[:, COLUMNS.index("visible")].mean().item(),
        "skipped_steps": run.guard.skipped_ever,
        "seconds_per_step": seconds,
        "samples_per_second": config.batch / seconds,
        "waiting_share": outcome.waited / seconds,
        "peak_memory_gib": _peak_memory_gib(accelerator.device),
    }
    samples = {"losses": outcome.column("total"), "timesteps": outcome.column("timestep")}
    accelerator.log(values, step, {"jsonl": {"samples": samples}})
    if not outcome.taken:
        accelerator.print(
            f"step {step}: skipped (loss {values['loss']:.4g}, gradient norm {outcome.norm:.4g}; "
            f"{run.guard.skipped_ever} so far); clips {', '.join(outcome.clips)}"
        )
    if (step + 1) % config.logging.every == 0 or step + 1 == config.steps:
        accelerator.print(
            f"step {step + 1}/{config.steps}: loss {values['loss']:.4f}, "
            f"gradient norm {outcome.norm:.3g}, learning rate {values['learning_rate']:.3g}, "
            f"{seconds:.2f} s/step, {values['peak_memory_gib']:.1f} GiB"
        )


def _peak_memory_gib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
