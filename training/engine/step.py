"""Computes the losses of a batch of drawn samples."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anchorweave.datasets.training_clip import Samples
from anchorweave.diffusion.objective import Losses, ObjectiveConfig, clip_loss
from anchorweave.diffusion.process import NoiseProcess

Positions = tuple[Tensor, ...] | None


def batch_losses(
    denoiser: nn.Module,
    samples: Samples,
    process: NoiseProcess,
    positions: Positions,
    config: ObjectiveConfig,
    dtype: torch.dtype,
) -> Losses:
    """The losses [B] of the samples of one call.

    Args:
        denoiser: a `Denoiser`, or its wrapper for several ranks.
        samples: on any device.
        process: the noise process, on the networks' device.
        positions: `Family.positions` of the backbone for latents of this size, likewise.
        config: the objective.
        dtype: dtype of the networks' input, the backbone's own.
    """
    # Computed here, where it does not wait for the GPU.
    any_alone = bool(samples.alone.any())
    samples = samples.to(process.device, torch.float32, non_blocking=True)
    image = samples.image_latents + samples.image_noise
    # The image is the first latent frame of its condition; the others are zero.
    image = torch.cat([image, image.new_zeros(samples.latents[:, 1:].shape)], dim=1)
    noisy = process.add_noise(samples.latents, samples.noise, samples.timestep)
    predicted = denoiser(
        noisy_latents=noisy.to(dtype),
        image_latents=image.to(dtype),
        prompt_features=samples.prompt_features.to(dtype),
        timestep=samples.timestep,
        anchors=samples.anchors,
        positions=positions,
        references=samples.references,
        preceding=samples.preceding,
        alone=samples.alone if any_alone else None,
    )
    return clip_loss(process, predicted, noisy, samples.latents, samples.timestep, config)
