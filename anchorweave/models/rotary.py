"""The backbone's rotary position table for a latent size."""

from __future__ import annotations

import torch
from diffusers import CogVideoXTransformer3DModel
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from diffusers.pipelines.cogvideo.pipeline_cogvideox_image2video import (
    get_resize_crop_region_for_grid,
)
from jaxtyping import Float
from torch import Tensor


def rotary_table(
    backbone: CogVideoXTransformer3DModel,
    latent_size: tuple[int, int, int],
    device: torch.device | str | None = None,
) -> tuple[Float[Tensor, "L d"], Float[Tensor, "L d"]] | None:
    """Cosines and sines [t * h//2 * w//2, head_dim], as diffusers' pipeline makes them.

    Args:
        backbone: a CogVideoX 1.0 transformer.
        latent_size: (t, h, w) of the latents.
        device: where the table is to lie.

    Returns:
        The pair, or None for a backbone without rotary positions.
    """
    config = backbone.config
    if not config.use_rotary_positional_embeddings:
        return None
    t, h, w = latent_size
    patch = config.patch_size
    grid = (h // patch, w // patch)
    crop = get_resize_crop_region_for_grid(
        grid, config.sample_width // patch, config.sample_height // patch
    )
    return get_3d_rotary_pos_embed(config.attention_head_dim, crop, grid, t, device=device)
