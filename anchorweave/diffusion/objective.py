"""The training loss, for any noise process."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import reduce
from jaxtyping import Float, Shaped
from torch import Tensor

from anchorweave.diffusion.process import ErrorIn, NoiseProcess


@dataclass(frozen=True)
class ObjectiveConfig:
    """Options of the training loss.

    Args:
        error_in: the quantity whose squared error is used. `v`: the network's prediction; for
            v-prediction, the clean latents' error weighted by 1 / (1 - alpha_bar) (released code).
            `epsilon`: the noise (paper equation 1), uninformative at the last timestep, where
            alpha_bar is 0. `x0`: the clean latents.
        motion_weight: weight of the motion term in the loss, in [0, 1] (released code: 0.2;
            not in the paper).
        motion_error_in: likewise for the motion term, the error of differences between consecutive
            latent frames. The released code leaves it unweighted, `x0`, so that it decreases with
            the noise.

    Raises:
        ValueError: a weight outside [0, 1].
    """

    error_in: ErrorIn = "v"
    motion_weight: float = 0.2
    motion_error_in: ErrorIn = "x0"

    def __post_init__(self):
        if not 0 <= self.motion_weight <= 1:
            raise ValueError(f"motion_weight={self.motion_weight} must be between 0 and 1")


@dataclass(frozen=True)
class Losses:
    """One value per sample [B]: the two terms, and their weighted sum, which is optimised."""

    total: Float[Tensor, " B"]
    reconstruction: Float[Tensor, " B"]
    motion: Float[Tensor, " B"]


def clip_loss(
    process: NoiseProcess,
    predicted: Float[Tensor, "B t C h w"],
    noisy: Float[Tensor, "B t C h w"],
    latents: Float[Tensor, "B t C h w"],
    timestep: Shaped[Tensor, " B"],
    config: ObjectiveConfig,
) -> Losses:
    """The prediction error of each sample, in float32.

    Args:
        process: what is predicted, and which frames count.
        predicted: the network's output.
        noisy: its input before rounding to a shorter dtype, an error that `v` and `epsilon` would
            amplify at low noise.
        latents: the ground truth, clean and scaled.
        timestep: of each sample.
        config: the objective.

    Source: paper equation 1 and the released training code; only the latter has the motion term.
    """
    predicted, noisy, latents = (x.float() for x in (predicted, noisy, latents))
    error = process.counted(process.clean_from(noisy, predicted, timestep) - latents)
    if not error.shape[1]:
        raise ValueError(
            f"clips of {latents.shape[1]} latent frame(s), all of them given, leave nothing to "
            "predict; train on longer clips"
        )
    reconstruction = process.weight(config.error_in, timestep) * _mean_square(error)
    if error.shape[1] > 1:
        difference = error[:, 1:] - error[:, :-1]
        motion = process.weight(config.motion_error_in, timestep) * _mean_square(difference)
    else:
        motion = torch.zeros_like(reconstruction)
    share = config.motion_weight
    return Losses((1 - share) * reconstruction + share * motion, reconstruction, motion)


def _mean_square(x: Tensor) -> Tensor:
    return reduce(x.square(), "B t C h w -> B", "mean")
