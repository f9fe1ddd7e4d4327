"""The running average (EMA) of trained weights."""

from __future__ import annotations

from collections.abc import Iterable

from diffusers.training_utils import EMAModel
from torch import nn


def running_average(parameters: Iterable[nn.Parameter], decay: float) -> EMAModel:
    """Diffusers' running average of `parameters`, from its first step on.

    The decay warms up as (1 + step) / (10 + step) until it reaches `decay`.

    Args:
        parameters: float32: in bfloat16 the average would stand still, because 1 - decay of a
            change is less than half a unit in its last place.
        decay: of one step, in [0, 1).

    Raises:
        ValueError: parameters of a shorter type, or a decay outside its range.
    """
    parameters = list(parameters)
    if not 0 <= decay < 1:
        raise ValueError(f"average.decay={decay} must be in [0, 1)")
    if short := {str(p.dtype) for p in parameters if p.itemsize < 4}:
        raise ValueError(
            f"the average of {', '.join(sorted(short))} weights stands still; train float32 ones "
            "under autocast"
        )
    return EMAModel(parameters, decay=decay, foreach=True)
