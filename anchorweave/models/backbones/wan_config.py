"""Wan's configuration: sizes, and the entries that it lacks."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from typing import Any

from diffusers import WanTransformer3DModel

from anchorweave.models.backbones.sizes import BackboneSizes

# transformer/config.json of Wan2.2-TI2V-5B-Diffusers.
PUBLISHED_5B = {
    "patch_size": [1, 2, 2],
    "num_attention_heads": 24,
    "attention_head_dim": 128,
    "in_channels": 48,
    "out_channels": 48,
    "text_dim": 4096,
    "freq_dim": 256,
    "ffn_dim": 14336,
    "num_layers": 30,
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
    "eps": 1e-6,
    "rope_max_seq_len": 1024,
}
FITS = "use a folder of Wan2.2-TI2V-5B-Diffusers' kind"
# The patch that diffusers' pipeline is written for.
PATCH = 2
# Wan's configuration does not state the video size that it was trained at. Small models have these
# entries of our own; the defaults are those of diffusers' pipeline, and 512 tokens for UMT5.
MADE_FOR = {
    "sample_frames": 81,
    "sample_height": 30,
    "sample_width": 52,
    "max_text_seq_length": 512,
}


def sizes_of(config: Mapping[str, Any]) -> BackboneSizes:
    """Sizes from a configuration.

    Raises:
        ValueError: patches that are not one frame of 2x2.
    """
    settings = _defaults() | MADE_FOR | dict(config)
    patch = tuple(settings["patch_size"])
    if patch != (1, PATCH, PATCH):
        raise ValueError(
            f"this backbone has patches of {patch} latent frames, rows and columns; diffusers' "
            f"pipeline takes (1, {PATCH}, {PATCH}) only; {FITS}"
        )
    return BackboneSizes(
        backbone_dim=settings["num_attention_heads"] * settings["attention_head_dim"],
        num_layers=settings["num_layers"],
        num_heads=settings["num_attention_heads"],
        head_dim=settings["attention_head_dim"],
        input_channels=settings["in_channels"],
        latent_channels=settings["out_channels"] or settings["in_channels"],
        text_dim=settings["text_dim"],
        text_tokens=settings["max_text_seq_length"],
        time_embed_dim=settings["freq_dim"],
        feed_forward=settings["ffn_dim"],
        patch_size=PATCH,
        temporal_compression=4,
        rotary=True,
        frames=settings["sample_frames"],
        latent_size=(settings["sample_height"], settings["sample_width"]),
        joint_text=False,
    )


def made_for(
    backbone: WanTransformer3DModel, frames: int, latent_size: tuple[int, int], text_tokens: int
) -> WanTransformer3DModel:
    """The backbone with the video size that it is made for in its configuration."""
    values = (frames, *latent_size, text_tokens)
    backbone.register_to_config(**dict(zip(MADE_FOR, values, strict=True)))
    return backbone


class _OwnEntries(logging.Filter):
    """Silences diffusers' warning about the entries of `MADE_FOR`, which it keeps anyway."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        ours = "passed to WanTransformer3DModel" in message and "not expected" in message
        return not (ours and message.count("':") <= sum(name in message for name in MADE_FOR))


class _NoImageEncoder(logging.Filter):
    """Silences transformers' request for torchvision, which other Wans' image encoder needs."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("`CLIPImageProcessor` requires torchvision")


logging.getLogger("diffusers.configuration_utils").addFilter(_OwnEntries())
logging.getLogger("transformers.utils.import_utils").addFilter(_NoImageEncoder())


def _defaults() -> dict[str, Any]:
    """Default values of the entries that a `config.json` leaves out."""
    arguments = inspect.signature(WanTransformer3DModel.__init__).parameters
    return {name: one.default for name, one in arguments.items()}
