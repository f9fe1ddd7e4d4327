"""The noise process of flow matching: straight paths from clean latents to noise.

With s = timestep / total, a clean x and noise e:

    noisy = (1 - s) x + s e          v = e - x
    x     = noisy - s v              e = noisy + (1 - s) v

so an error d in v is an error -s d in x and (1 - s) d in e.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from anchorweave.diffusion.process import ErrorIn, NoiseProcess
from anchorweave.diffusion.timesteps import TimestepConfig, sample_share

# Factor from the squared error of x to that of another quantity.
WEIGHTS = {
    "x0": lambda s: torch.ones_like(s),
    "v": lambda s: 1 / s**2,
    "epsilon": lambda s: ((1 - s) / s) ** 2,
}


class FlowMatching(NoiseProcess):
    """Flow matching with continuous timesteps in (0, total].

    The first latent frame is a condition: the backbone sees it clean in every step, and it is
    excluded from the loss.

    Args:
        total: the timestep of pure noise.
        device: device of latents and timesteps.

    Source: Spatia, section 3 (its objective leaves the given frames out); Wan2.2-TI2V-5B.
    """

    given_frames = 1

    def __init__(self, total: int = 1000, device: torch.device | str = "cpu"):
        self.total = total
        self._device = torch.device(device)

    @property
    def device(self) -> torch.device:
        """The device of latents and timesteps; there is no schedule to move."""
        return self._device

    def to(self, device: torch.device | str) -> FlowMatching:
        """The same process for tensors on `device`."""
        return FlowMatching(self.total, device)

    def add_noise(
        self,
        latents: Float[Tensor, "B t C h w"],
        noise: Float[Tensor, "B t C h w"],
        timestep: Shaped[Tensor, " B"],
    ) -> Float[Tensor, "B t C h w"]:
        """Noised latents at the given timesteps."""
        s = self._share(timestep, latents)
        return (1 - s) * latents + s * noise

    def target(
        self,
        latents: Float[Tensor, "B t C h w"],
        noise: Float[Tensor, "B t C h w"],
        timestep: Shaped[Tensor, " B"],
    ) -> Float[Tensor, "B t C h w"]:
        """The velocity from clean latents to noise, which an ideal network predicts."""
        return noise - latents

    def clean_from(
        self,
        noisy: Float[Tensor, "B t C h w"],
        predicted: Float[Tensor, "B t C h w"],
        timestep: Shaped[Tensor, " B"],
    ) -> Float[Tensor, "B t C h w"]:
        """The clean latents implied by a prediction."""
        return noisy - self._share(timestep, noisy) * predicted

    def weight(self, error_in: ErrorIn, timestep: Shaped[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Factor on the squared error of x; infinite without noise, except for `x0`."""
        return WEIGHTS[error_in](timestep.float() / self.total)

    def draw_timestep(self, config: TimestepConfig, generator: torch.Generator) -> float:
        """One timestep in [1, total], drawn by `sample_share`."""
        return self.timestep_at(sample_share(config, generator))

    def timestep_at(self, share: float) -> float:
        """The timestep at a fraction of all, at least 1: nothing is learned without noise."""
        return max(share * self.total, 1.0)

    def _share(self, timestep: Tensor, like: Tensor) -> Tensor:
        # Divided in float32: half precision cannot resolve a thousand steps.
        return (timestep.float() / self.total).to(like.dtype)[:, None, None, None, None]
