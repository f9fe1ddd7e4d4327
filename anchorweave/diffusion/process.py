"""NoiseProcess: how a family of backbones adds noise to latents, and what it predicts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from anchorweave.diffusion.timesteps import TimestepConfig, sample_timestep

# The quantity whose squared error is used: the network's prediction (`v`), the noise, or the clean
# latents.
ErrorIn = Literal["v", "epsilon", "x0"]


class NoiseProcess(ABC):
    """The noise process, without any network.

    Latents are [B, t, C, h, w], clean and scaled; timesteps are [B], as the backbone takes them.

    Attributes:
        total: timesteps of the schedule; samples are drawn in [0, total).
        given_frames: number of leading latent frames that the backbone gets clean and does not
            predict; they are excluded from the loss.
        clean_timestep: where latents are clean; n steps of noise are n timesteps after it.
    """

    total: int
    given_frames: int = 0
    clean_timestep: int = 0

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """The device of the schedule."""

    @abstractmethod
    def to(self, device: torch.device | str) -> NoiseProcess:
        """The same process with its schedule on `device`."""

    @abstractmethod
    def add_noise(
        self,
        latents: Float[Tensor, "B t C h w"],
        noise: Float[Tensor, "B t C h w"],
        timestep: Shaped[Tensor, " B"],
    ) -> Float[Tensor, "B t C h w"]:
        """Noised latents at the given timesteps.

        Args:
            latents: clean, scaled.
            noise: standard normal.
            timestep: of each sample.
        """

    @abstractmethod
    def target(
        self,
        latents: Float[Tensor, "B t C h w"],
        noise: Float[Tensor, "B t C h w"],
        timestep: Shaped[Tensor, " B"],
    ) -> Float[Tensor, "B t C h w"]:
        """What an ideal network predicts; arguments as in `add_noise`."""

    @abstractmethod
    def clean_from(
        self,
        noisy: Float[Tensor, "B t C h w"],
        predicted: Float[Tensor, "B t C h w"],
        timestep: Shaped[Tensor, " B"],
    ) -> Float[Tensor, "B t C h w"]:
        """The clean latents implied by a prediction."""

    @abstractmethod
    def weight(self, error_in: ErrorIn, timestep: Shaped[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Factor from the squared error of the clean latents to that of another quantity.

        Args:
            error_in: `v` (the network's prediction), `epsilon` (the noise) or `x0` (1).
            timestep: of each sample.
        """

    def draw_timestep(self, config: TimestepConfig, generator: torch.Generator) -> int | float:
        """One timestep to train, drawn by `sample_timestep`."""
        return sample_timestep(config, self.total, generator)

    def timestep_at(self, share: float) -> int | float:
        """The timestep at a fraction in [0, 1) of all, 0 = clean."""
        return int(share * self.total)

    def counted(self, frames: Float[Tensor, "B t C h w"]) -> Float[Tensor, "B counted C h w"]:
        """The latent frames that contribute to the loss."""
        return frames[:, self.given_frames :] if self.given_frames else frames
