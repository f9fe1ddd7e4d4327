"""NoiseProcess: how a family of backbones noises latents, and what it predicts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from anchorweave.diffusion.timesteps import TimestepConfig, sample_timestep

# The quantity whose squared error counts: what the network predicts (`v`), the noise, or the clean
# latents.
ErrorIn = Literal["v", "epsilon", "x0"]


class NoiseProcess(ABC):
    """Noise levels by timestep, without any network.

    Latents are [B, t, C, h, w], clean and scaled; timesteps are [B], as the backbone takes them.

    Attributes:
        total: timesteps of the schedule; samples are drawn in [0, total).
        given_frames: latent frames, from the first on, that the backbone is given clean and does
            not predict; they do not count in the loss.
        clean_timestep: where latents are clean; n steps of noise are the timestep n behind it.
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
        """Latents as they are at their timesteps.

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
        """What a perfect network predicts; arguments as in `add_noise`."""

    @abstractmethod
    def clean_from(
        self,
        noisy: Float[Tensor, "B t C h w"],
        predicted: Float[Tensor, "B t C h w"],
        timestep: Shaped[Tensor, " B"],
    ) -> Float[Tensor, "B t C h w"]:
        """The clean latents that a prediction implies."""

    @abstractmethod
    def weight(self, error_in: ErrorIn, timestep: Shaped[Tensor, " B"]) -> Float[Tensor, " B"]:
        """What turns the squared error of the clean latents into that of another quantity.

        Args:
            error_in: `v` (what the network predicts), `epsilon` (the noise) or `x0` (1).
            timestep: of each sample.
        """

    def draw_timestep(self, config: TimestepConfig, generator: torch.Generator) -> int | float:
        """One timestep to train; `sample_timestep` says how it is drawn."""
        return sample_timestep(config, self.total, generator)

    def timestep_at(self, share: float) -> int | float:
        """The timestep at a share in [0, 1) of all of them, 0 = clean."""
        return int(share * self.total)

    def counted(self, frames: Float[Tensor, "B t C h w"]) -> Float[Tensor, "B counted C h w"]:
        """The latent frames that count in the loss."""
        return frames[:, self.given_frames :] if self.given_frames else frames
