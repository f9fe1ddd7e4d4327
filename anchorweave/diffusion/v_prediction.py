"""The noise process of v-prediction over a variance-preserving schedule.

With a = `alpha_bar` of the timestep, a clean x and noise e:

    noisy = sqrt(a) x + sqrt(1 - a) e          v = sqrt(a) e - sqrt(1 - a) x
    x     = sqrt(a) noisy - sqrt(1 - a) v      e = sqrt(1 - a) noisy + sqrt(a) v

so an error d in v is an error -sqrt(1 - a) d in x and sqrt(a) d in e.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from anchorweave.diffusion.process import ErrorIn, NoiseProcess

# Factor from the squared error of x to that of another quantity.
WEIGHTS = {
    "x0": lambda a: torch.ones_like(a),
    "v": lambda a: 1 / (1 - a),
    "epsilon": lambda a: a / (1 - a),
}


class VPrediction(NoiseProcess):
    """Integer timesteps, each with its signal level.

    Args:
        alpha_bar: cumulative products of the schedule [total], in [0, 1], decreasing.
    """

    # The schedule's first entry already has some noise.
    clean_timestep = -1

    def __init__(self, alpha_bar: Float[Tensor, " total"]):
        self.alpha_bar = alpha_bar
        self.total = len(alpha_bar)

    @property
    def device(self) -> torch.device:
        """The device of the schedule."""
        return self.alpha_bar.device

    def to(self, device: torch.device | str) -> VPrediction:
        """The same process with its schedule on `device`."""
        return VPrediction(self.alpha_bar.to(device))

    def add_noise(
        self,
        latents: Float[Tensor, "B t C h w"],
        noise: Float[Tensor, "B t C h w"],
        timestep: Int[Tensor, " B"],
    ) -> Float[Tensor, "B t C h w"]:
        """Noised latents at the given timesteps."""
        a = self._level(timestep, latents)
        return a.sqrt() * latents + (1 - a).sqrt() * noise

    def target(
        self,
        latents: Float[Tensor, "B t C h w"],
        noise: Float[Tensor, "B t C h w"],
        timestep: Int[Tensor, " B"],
    ) -> Float[Tensor, "B t C h w"]:
        """v, which an ideal network predicts."""
        a = self._level(timestep, latents)
        return a.sqrt() * noise - (1 - a).sqrt() * latents

    def clean_from(
        self,
        noisy: Float[Tensor, "B t C h w"],
        predicted: Float[Tensor, "B t C h w"],
        timestep: Int[Tensor, " B"],
    ) -> Float[Tensor, "B t C h w"]:
        """The clean latents implied by a v-prediction."""
        a = self._level(timestep, noisy)
        return a.sqrt() * noisy - (1 - a).sqrt() * predicted

    def weight(self, error_in: ErrorIn, timestep: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Factor on the squared error of x; infinite for `epsilon` without noise."""
        return WEIGHTS[error_in](self.alpha_bar[timestep].float())

    def _level(self, timestep: Tensor, like: Tensor) -> Tensor:
        return self.alpha_bar[timestep].to(like.dtype)[:, None, None, None, None]
