"""A new image-to-video backbone of any size, and its noise schedule.

Its family is that of the autoencoder whose latents it denoises.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import (
    AutoencoderKLWan,
    CogVideoXDPMScheduler,
    CogVideoXTransformer3DModel,
    UniPCMultistepScheduler,
    WanTransformer3DModel,
)

from anchorweave.models.backbones import codec_of
from anchorweave.models.backbones.wan_config import made_for
from anchorweave.models.codec.base import VideoCodec
from anchorweave.models.small.vae import VAE

# For Wan's rotary table: more tokens along one side than any small model has.
LONGEST = 128
Backbone = CogVideoXTransformer3DModel | WanTransformer3DModel


@dataclass(frozen=True)
class BackboneConfig:
    """Architecture of a backbone; channels and text sizes follow from the other components.

    Its positions are rotary only, so that it supports lengths and sizes other than its defaults.

    Args:
        layers: transformer blocks (CogVideoX-5B: 42, Wan2.2-TI2V-5B: 30).
        heads: attention heads (48, 24).
        head_channels: width of one head (64, 128); divisible by 16, for the rotary table.
        time_channels: width of the timestep embedding (512), or of its sines (Wan: 256).
        patch_size: latent pixels along one side of a token; 2 for Wan.
        frames: default T of its videos.
        size: their default (height, width) in pixels.

    Raises:
        ValueError: a head width that the rotary table does not divide.
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
                "quarter of them encodes time and the rest space, in pairs"
            )


def small_backbone(
    config: BackboneConfig, vae: VAE, text_channels: int, text_tokens: int, seed: int
) -> Backbone:
    """A backbone with weights that depend only on `seed`.

    Args:
        config: its architecture.
        vae: the autoencoder whose latents it denoises.
        text_channels: width of the prompt features.
        text_tokens: number of prompt tokens.
        seed: seed of the weights; the global random state is not changed.

    Raises:
        ValueError: an unsupported patch size for Wan.
    """
    codec = codec_of(vae)
    latent_size = (config.size[0] // codec.in_space, config.size[1] // codec.in_space)
    make = _wan if isinstance(vae, AutoencoderKLWan) else _cogvideox
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make(config, codec, latent_size, text_channels, text_tokens)


def _cogvideox(
    config: BackboneConfig,
    codec: VideoCodec,
    latent_size: tuple[int, int],
    text_channels: int,
    text_tokens: int,
) -> CogVideoXTransformer3DModel:
    return CogVideoXTransformer3DModel(
        num_attention_heads=config.heads,
        attention_head_dim=config.head_channels,
        in_channels=2 * codec.channels,
        out_channels=codec.channels,
        time_embed_dim=config.time_channels,
        text_embed_dim=text_channels,
        num_layers=config.layers,
        patch_size=config.patch_size,
        sample_height=latent_size[0],
        sample_width=latent_size[1],
        sample_frames=config.frames,
        temporal_compression_ratio=codec.in_time,
        max_text_seq_length=text_tokens,
        use_rotary_positional_embeddings=True,
        use_learned_positional_embeddings=False,
    )


def _wan(
    config: BackboneConfig,
    codec: VideoCodec,
    latent_size: tuple[int, int],
    text_channels: int,
    text_tokens: int,
) -> WanTransformer3DModel:
    if config.patch_size != 2:
        raise ValueError(f"backbone.patch_size={config.patch_size}: Wan's patches are 2x2")
    backbone = WanTransformer3DModel(
        num_attention_heads=config.heads,
        attention_head_dim=config.head_channels,
        in_channels=codec.channels,
        out_channels=codec.channels,
        text_dim=text_channels,
        freq_dim=config.time_channels,
        ffn_dim=4 * config.heads * config.head_channels,
        num_layers=config.layers,
        rope_max_seq_len=LONGEST,
    )
    return made_for(backbone, config.frames, latent_size, text_tokens)


def noise_schedule(family: str) -> CogVideoXDPMScheduler | UniPCMultistepScheduler:
    """The noise schedule of a family's published models: CogVideoX-5B's or Wan2.2-TI2V-5B's."""
    return flow_schedule() if family == "wan" else v_schedule()


def flow_schedule() -> UniPCMultistepScheduler:
    """The sampler of Wan2.2-TI2V-5B."""
    return UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0
    )


def v_schedule() -> CogVideoXDPMScheduler:
    """The schedule of CogVideoX-5B: zero terminal SNR, v-prediction."""
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
