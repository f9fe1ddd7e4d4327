"""What a v-prediction is judged by.

With a = `alpha_bar` of the timestep, a clean x and noise e:

    noisy = sqrt(a) x + sqrt(1 - a) e          v = sqrt(a) e - sqrt(1 - a) x
    x     = sqrt(a) noisy - sqrt(1 - a) v      e = sqrt(1 - a) noisy + sqrt(a) v

so an error d in v is an error -sqrt(1 - a) d in x and sqrt(a) d in e.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from einops import reduce
from jaxtyping import Float
from torch import Tensor

# What the squared error of x is multiplied by, to be the squared error of another quantity.
WEIGHTS = {
    "x0": lambda a: torch.ones_like(a),
    "v": lambda a: 1 / (1 - a),
    "epsilon": lambda a: a / (1 - a),
}


@dataclass(frozen=True)
class ObjectiveConfig:
    """The loss of training.

    Args:
        error_in: the quantity whose squared error counts. `v`: the clean latents' error weighted by
            1 / (1 - alpha_bar) (released code); `epsilon`: the noise (paper equation 1), which
            tells nothing at the last timestep, where alpha_bar is 0; `x0`: the clean latents.
        motion_weight: share of the loss that the motion term takes, in [0, 1] (released code: 0.2;
            not in the paper).
        motion_error_in: likewise for the motion term, the error of differences between neighbouring
            latent frames. The released code leaves it unweighted, `x0`, so that it fades as the
            noise does.

    Raises:
        ValueError: a share outside [0, 1].
    """

    error_in: Literal["v", "epsilon", "x0"] = "v"
    motion_weight: float = 0.2
    motion_error_in: Literal["v", "epsilon", "x0"] = "x0"

    def __post_init__(self):
        if not 0 <= self.motion_weight <= 1:
            raise ValueError(f"motion_weight={self.motion_weight} is a share of the loss, 0 to 1")


@dataclass(frozen=True)
class Losses:
    """One number a sample [B]: the two terms, and their weighted sum, which is trained."""

    total: Float[Tensor, " B"]
    reconstruction: Float[Tensor, " B"]
    motion: Float[Tensor, " B"]


def add_noise(
    latents: Float[Tensor, "B t C h w"],
    noise: Float[Tensor, "B t C h w"],
    alpha_bar: Float[Tensor, " B"],
) -> Float[Tensor, "B t C h w"]:
    """Latents as they are at a timestep.

    Args:
        latents: clean, scaled.
        noise: standard normal.
        alpha_bar: the schedule's cumulative product at each sample's timestep, in [0, 1].
    """
    a = _per_sample(alpha_bar)
    return a.sqrt() * latents + (1 - a).sqrt() * noise


def x0_from_v(
    noisy: Float[Tensor, "B t C h w"],
    v: Float[Tensor, "B t C h w"],
    alpha_bar: Float[Tensor, " B"],
) -> Float[Tensor, "B t C h w"]:
    """The clean latents that a v-prediction stands for; arguments as in `add_noise`."""
    a = _per_sample(alpha_bar)
    return a.sqrt() * noisy - (1 - a).sqrt() * v


def clip_loss(
    predicted_v: Float[Tensor, "B t C h w"],
    noisy: Float[Tensor, "B t C h w"],
    latents: Float[Tensor, "B t C h w"],
    alpha_bar: Float[Tensor, " B"],
    config: ObjectiveConfig,
) -> Losses:
    """How far the prediction is off, for each sample by itself, in float32.

    Args:
        predicted_v: what the network said.
        noisy: what it was shown, before any rounding to a shorter type, which `v` and `epsilon`
            would magnify where there is little noise.
        latents: the truth, clean and scaled.
        alpha_bar: the schedule's cumulative product at each sample's timestep, in [0, 1).
        config: the objective.

    Source: paper equation 1 and the released training code; the motion term is in the latter only.
    """
    predicted_v, noisy, latents = (x.float() for x in (predicted_v, noisy, latents))
    alpha_bar = alpha_bar.float()
    error = x0_from_v(noisy, predicted_v, alpha_bar) - latents
    reconstruction = WEIGHTS[config.error_in](alpha_bar) * _mean_square(error)
    if error.shape[1] > 1:
        difference = error[:, 1:] - error[:, :-1]
        motion = WEIGHTS[config.motion_error_in](alpha_bar) * _mean_square(difference)
    else:
        motion = torch.zeros_like(reconstruction)
    share = config.motion_weight
    return Losses((1 - share) * reconstruction + share * motion, reconstruction, motion)


def _mean_square(x: Tensor) -> Tensor:
    return reduce(x.square(), "B t C h w -> B", "mean")


def _per_sample(alpha_bar: Tensor) -> Tensor:
    return alpha_bar[:, None, None, None, None]
