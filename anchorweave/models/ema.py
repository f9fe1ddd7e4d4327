"""The exponential moving average (EMA) of trained weights."""

from __future__ import annotations

from collections.abc import Iterable

from diffusers.training_utils import EMAModel
from torch import nn


def running_average(parameters: Iterable[nn.Parameter], decay: float) -> EMAModel:
    """Diffusers' EMA of `parameters`, starting at the first step.

    The decay warms up as (1 + step) / (10 + step) until it reaches `decay`.

    Args:
        parameters: float32: in bfloat16 the average would not change, because (1 - decay) times a
            change is less than half a unit in its last place.
        decay: decay per step, in [0, 1).

    Raises:
        ValueError: parameters of a shorter dtype, or a decay out of range.
    """
    parameters = list(parameters)
    if not 0 <= decay < 1:
        raise ValueError(f"average.decay={decay} must be in [0, 1)")
    if short := {str(p.dtype) for p in parameters if p.itemsize < 4}:
        raise ValueError(
            f"an average of {', '.join(sorted(short))} weights would not change; train float32 "
            "ones under autocast"
        )
    return EMAModel(parameters, decay=decay, foreach=True)
