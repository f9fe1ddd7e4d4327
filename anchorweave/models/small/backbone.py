"""A CogVideoX image-to-video backbone of any size, with new weights, and its noise schedule."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    CogVideoXDPMScheduler,
    CogVideoXTransformer3DModel,
)


@dataclass(frozen=True)
class BackboneConfig:
    """Architecture of a backbone; its channels and text follow from the parts beside it.

    Its positions are rotary only, so that it takes other lengths and sizes than it is laid out for.

    Args:
        layers: transformer blocks (CogVideoX-5B: 42).
        heads: attention heads (48).
        head_channels: width of one head (64); divisible by 16, for the rotary table.
        time_channels: width of the timestep embedding (512).
        patch_size: latent pixels along one side of a token.
        frames: T of the videos that it is laid out for.
        size: likewise their (height, width) in pixels.

    Raises:
        ValueError: a width of heads that the rotary table does not divide.
    """

    layers: int = 8
    heads: int = 4
    head_channels: int = 64
    time_channels: int = 128
    patch_size: int = 2
    frames: int = 17
    size: tuple[int, int] = (64, 96)

    def __post_init__(self):
        if self.head_channels % 16:
            raise ValueError(
                f"backbone.head_channels={self.head_channels}: must be divisible by 16, because a "
                "quarter of them tells of time and the rest of space, in pairs"
            )


def small_backbone(
    config: BackboneConfig,
    vae: AutoencoderKLCogVideoX,
    text_channels: int,
    text_tokens: int,
    seed: int,
) -> CogVideoXTransformer3DModel:
    """A backbone with weights that depend on `seed` alone.

    Args:
        config: its architecture.
        vae: whose latents it denoises.
        text_channels: width of the prompt features.
        text_tokens: how many tokens of a prompt it reads.
        seed: of the weights; the global random state is left as it was.
    """
    in_space = 2 ** (len(vae.config.block_out_channels) - 1)
    channels = vae.config.latent_channels
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return CogVideoXTransformer3DModel(
            num_attention_heads=config.heads,
            attention_head_dim=config.head_channels,
            in_channels=2 * channels,
            out_channels=channels,
            time_embed_dim=config.time_channels,
            text_embed_dim=text_channels,
            num_layers=config.layers,
            patch_size=config.patch_size,
            sample_height=config.size[0] // in_space,
            sample_width=config.size[1] // in_space,
            sample_frames=config.frames,
            temporal_compression_ratio=int(vae.config.temporal_compression_ratio),
            max_text_seq_length=text_tokens,
            use_rotary_positional_embeddings=True,
            use_learned_positional_embeddings=False,
        )


def noise_schedule() -> CogVideoXDPMScheduler:
    """The schedule of CogVideoX-5B: zero signal at the last timestep, predictions of v."""
    return CogVideoXDPMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        set_alpha_to_one=True,
        snr_shift_scale=1.0,
        timestep_spacing="trailing",
    )
