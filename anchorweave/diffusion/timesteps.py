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
        shift: moves the share s that was drawn to shift s / (1 + (shift - 1) s), towards noise
            above 1 (Wan's samplers: 5). `low` and `high` hold for s.

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
                f"timesteps run from low={self.low} to high={self.high}; these are shares with "
                "0 <= low < high <= 1"
            )
        if not 0 < self.std < math.inf:
            raise ValueError(f"the timesteps' std={self.std} must be positive and finite")
        if not 0 < self.shift < math.inf:
            raise ValueError(f"the timesteps' shift={self.shift} must be positive and finite")

    def shifted(self, share: float) -> float:
        """Where `shift` moves a share in [0, 1]."""
        return self.shift * share / (1 + (self.shift - 1) * share)


def sample_timestep(config: TimestepConfig, total: int, generator: torch.Generator) -> int:
    """One timestep in [0, total), an integer; `sample_share` says how it is drawn.

    The released code clips a normal sample to a closed interval and can return `total`.

    Args:
        config: the distribution.
        total: timesteps of the noise schedule (1000).
        generator: on the CPU.

    Raises:
        ValueError: as `sample_share`.
    """
    share = sample_share(config, generator)
    low, high = config.shifted(config.low), config.shifted(config.high)
    first, last = math.floor(low * total), math.ceil(high * total) - 1
    return min(max(math.floor(share * total), first), last)


def sample_share(config: TimestepConfig, generator: torch.Generator) -> float:
    """A share of all timesteps in [0, 1], from one uniform number whatever the kind.

    Every kind is its inverse distribution function cut to [low, high], so that none can fall
    outside, and then shifted.

    Args:
        config: the distribution.
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
    return config.shifted(float(share))
