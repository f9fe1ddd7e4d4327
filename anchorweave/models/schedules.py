"""Learning-rate schedules by name, as functions of the step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from diffusers.optimization import get_scheduler


def learning_rate_factor(
    kind: str, warmup: int, steps: int, cycles: int = 1
) -> Callable[[int], float]:
    """Diffusers' schedule `kind` as a function step -> fraction of the peak learning rate.

    A function has no state to save, and cannot be advanced too often by several ranks.

    Args:
        kind: `constant_with_warmup`, `linear`, `cosine`, `cosine_with_restarts`.
        warmup: warm-up steps from zero.
        steps: total number of steps.
        cycles: number of cycles of `cosine_with_restarts`.
    """
    unused = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = get_scheduler(
        kind, unused, num_warmup_steps=warmup, num_training_steps=steps, num_cycles=cycles
    )
    return schedule.lr_lambdas[0]
