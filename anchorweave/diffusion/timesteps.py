"""Which timesteps are trained, and how often."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

_NORMAL = torch.distributions.Normal(
    torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
)


@dataclass(frozen=True)
class TimestepConfig:
    """Distribution of the timestep as a share of all of them, 0 = clean, 1 = pure noise.

    Args:
        kind: `uniform` (the released script; the paper does not say), or a normal distribution of
            the share (`truncated_normal`) or of its logit (`logit_normal`).
        low: smallest share that is trained. A control window of the first 80 % of the sampling
            steps, for example, never meets shares below 0.2.
        high: largest.
        mean: of the normal distribution, in shares or logits (both normal kinds).
        std: likewise.

    Raises:
        ValueError: an empty range, or a standard deviation that is not positive.
    """

    kind: Literal["uniform", "truncated_normal", "logit_normal"] = "uniform"
    low: float = 0.0
    high: float = 1.0
    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self):
        if not 0 <= self.low < self.high <= 1:
            raise ValueError(
                f"timesteps run from low={self.low} to high={self.high}; these are shares with "
                "0 <= low < high <= 1"
            )
        if not 0 < self.std < math.inf:
            raise ValueError(f"the timesteps' std={self.std} must be positive and finite")


def sample_timestep(config: TimestepConfig, total: int, generator: torch.Generator) -> int:
    """One timestep in [0, total), from one uniform number of `generator` whatever the kind.

    Every kind is its inverse distribution function cut to [low, high], so that none can fall
    outside; the released code clips a normal sample to a closed interval and can return `total`.

    Args:
        config: the distribution.
        total: timesteps of the noise schedule (1000).
        generator: on the CPU.

    Raises:
        ValueError: a normal distribution that lies so far outside [low, high] that nothing is left.
    """
    u = torch.rand((), generator=generator, dtype=torch.float64)
    bounds = torch.tensor([config.low, config.high], dtype=torch.float64)
    if config.kind == "uniform":
        share = bounds[0] + u * (bounds[1] - bounds[0])
    else:
        logit = config.kind == "logit_normal"
        z = ((torch.logit(bounds) if logit else bounds) - config.mean) / config.std
        low, high = _NORMAL.cdf(z)
        if not low < high:
            raise ValueError(
                f"a {config.kind} distribution of timesteps with mean {config.mean} and std "
                f"{config.std} never falls between low={config.low} and high={config.high}"
            )
        share = config.mean + config.std * _NORMAL.icdf(low + u * (high - low))
        share = torch.sigmoid(share) if logit else share
    first, last = math.floor(config.low * total), math.ceil(config.high * total) - 1
    return min(max(math.floor(float(share) * total), first), last)
