"""Distribution of the training timesteps."""

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
    """Distribution of the timestep as a fraction of all timesteps, 0 = clean, 1 = pure noise.

    Args:
        kind: `uniform` (the released script; the paper does not say), or a normal distribution of
            the fraction (`truncated_normal`) or of its logit (`logit_normal`).
        low: smallest fraction to train. A control window of the first 80 % of the sampling steps,
            for example, never uses fractions below 0.2.
        high: largest.
        mean: mean of the normal distribution, in fractions or logits (both normal kinds).
        std: likewise.
        shift: maps the drawn fraction s to shift s / (1 + (shift - 1) s), towards noise if above 1
            (Wan's samplers: 5). `low` and `high` apply to s.

    Raises:
        ValueError: an empty range, or a standard deviation or a shift that is not positive.
    """

    kind: Literal["uniform", "truncated_normal", "logit_normal"] = "uniform"
    low: float = 0.0
    high: float = 1.0
    mean: float = 0.0
    std: float = 1.0
    shift: float = 1.0

    def __post_init__(self):
        if not 0 <= self.low < self.high <= 1:
            raise ValueError(
                f"timesteps range from low={self.low} to high={self.high}; these are fractions "
                "with 0 <= low < high <= 1"
            )
        if not 0 < self.std < math.inf:
            raise ValueError(f"the timesteps' std={self.std} must be positive and finite")
        if not 0 < self.shift < math.inf:
            raise ValueError(f"the timesteps' shift={self.shift} must be positive and finite")

    def shifted(self, share: float) -> float:
        """The fraction in [0, 1] after `shift`."""
        return self.shift * share / (1 + (self.shift - 1) * share)


def sample_timestep(config: TimestepConfig, total: int, generator: torch.Generator) -> int:
    """One integer timestep in [0, total), drawn by `sample_share`.

    The released code clips a normal sample to a closed interval and can return `total`.

    Args:
        config: the distribution.
        total: timesteps of the noise schedule (1000).
        generator: a CPU generator.

    Raises:
        ValueError: as `sample_share`.
    """
    share = sample_share(config, generator)
    low, high = config.shifted(config.low), config.shifted(config.high)
    first, last = math.floor(low * total), math.ceil(high * total) - 1
    return min(max(math.floor(share * total), first), last)


def sample_share(config: TimestepConfig, generator: torch.Generator) -> float:
    """A fraction of all timesteps in [0, 1], from one uniform random number for every kind.

    Uses the inverse distribution function truncated to [low, high], so that no sample falls
    outside, and then applies the shift.

    Args:
        config: the distribution.
        generator: a CPU generator.

    Raises:
        ValueError: a normal distribution so far outside [low, high] that no mass is left inside.
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
    return config.shifted(float(share))
