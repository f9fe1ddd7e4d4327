"""A Wan2.2-TI2V model small enough for one CPU core, with random weights.

Every component has the class and the configuration of the 5B's, except for sizes; its autoencoder
also compresses space by 16, so that a 64x96 video has six tokens per frame.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from transformers import UMT5EncoderModel

from anchorweave.models.backbones.wan_config import made_for
from anchorweave.models.small.backbone import flow_schedule
from anchorweave.models.small.text import TextConfig, text_config
from anchorweave.models.small.tiny import TEXT_CHANNELS, TEXT_TOKENS, tiny_tokenizer
from anchorweave.models.small.vae import VAEConfig, wan_vae
from anchorweave.models.weaving.make_controller import ControllerOptions, make_controller

LATENT_CHANNELS = 8
IN_SPACE = 16


def tiny_wan_components(
    seed: int = 0, frames: int = 25, size: tuple[int, int] = (64, 96)
) -> dict[str, object]:
    """The arguments of `AnchorWeaveWanPipeline`, with random weights that depend only on `seed`.

    Args:
        seed: seed of the weights; the global random state is not changed.
        frames: T stated in its configuration; it supports any.
        size: (height, width), likewise.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = tiny_tokenizer()
        transformer = WanTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=32,
            in_channels=LATENT_CHANNELS,
            out_channels=LATENT_CHANNELS,
            text_dim=TEXT_CHANNELS,
            freq_dim=32,
            ffn_dim=160,
            num_layers=4,
            rope_max_seq_len=128,
        )
        made_for(transformer, frames, (size[0] // IN_SPACE, size[1] // IN_SPACE), TEXT_TOKENS)
        parts = {
            "tokenizer": tokenizer,
            "text_encoder": _text_encoder(len(tokenizer)),
            "vae": _vae(),
            "transformer": transformer,
            "controller": make_controller(
                transformer, options=ControllerOptions(layers=2, heads=1)
            ),
            "scheduler": flow_schedule(),
        }
    for part in parts.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
    return parts


def _text_encoder(vocabulary: int) -> UMT5EncoderModel:
    return UMT5EncoderModel(text_config(TextConfig("umt5", TEXT_CHANNELS), vocabulary))


def _vae() -> AutoencoderKLWan:
    # 16 times in space; levels of 8, 16, 16 and 16 channels.
    vae = wan_vae(VAEConfig((8, 16, 16, 16), LATENT_CHANNELS, family="wan"))
    vae.register_to_config(
        latents_mean=[0.1 * (i - 3) for i in range(LATENT_CHANNELS)],
        latents_std=[0.5 + 0.1 * i for i in range(LATENT_CHANNELS)],
    )
    return vae
