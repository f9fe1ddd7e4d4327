"""From a batch of drawn samples to their losses."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anchorweave.diffusion.objective import Losses, ObjectiveConfig, clip_loss
from anchorweave.diffusion.process import NoiseProcess
from training.engine.batches import DrawnBatch

Positions = tuple[Tensor, ...] | None


def batch_losses(
    denoiser: nn.Module,
    drawn: DrawnBatch,
    process: NoiseProcess,
    positions: Positions,
    config: ObjectiveConfig,
    dtype: torch.dtype,
) -> Losses:
    """The losses [B] of the samples of one call.

    Args:
        denoiser: a `Denoiser`, or what wraps one for several ranks.
        drawn: the samples, on any device.
        process: the noise process, on the networks' device.
        positions: `Family.positions` of the backbone for latents of this size, likewise.
        config: the objective.
        dtype: of what the networks are shown, the backbone's own.
    """
    device = process.device
    latents = drawn.clips.latents.to(device, torch.float32, non_blocking=True)
    image = drawn.clips.image_latents.to(
        device, torch.float32, non_blocking=True
    ) + drawn.image_noise.to(device, non_blocking=True)
    # The image is the first latent frame of its condition; the others are empty.
    image = torch.cat([image, image.new_zeros(latents[:, 1:].shape)], dim=1)
    timestep = drawn.timestep.to(device, non_blocking=True)
    noisy = process.add_noise(latents, drawn.noise.to(device, non_blocking=True), timestep)
    predicted = denoiser(
        noisy_latents=noisy.to(dtype),
        image_latents=image.to(dtype),
        prompt_features=drawn.clips.prompt_features.to(device, dtype, non_blocking=True),
        timestep=timestep,
        anchors=drawn.clips.anchors.to(device, torch.float32, non_blocking=True),
        positions=positions,
        references=drawn.clips.references.to(device, torch.float32, non_blocking=True),
        alone=drawn.alone.to(device) if drawn.alone.any() else None,
    )
    return clip_loss(process, predicted, noisy, latents, timestep, config)
