"""Wan's configuration: sizes, and entries missing from it."""

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
# The patch size that diffusers' pipeline supports.
PATCH = 2
# Wan's configuration does not state the training video size. Small models have these extra entries;
# the defaults are those of diffusers' pipeline, with 512 tokens for UMT5.
MADE_FOR = {
    "sample_frames": 81,
    "sample_height": 30,
    "sample_width": 52,
    "max_text_seq_length": 512,
}


def sizes_of(config: Mapping[str, Any]) -> BackboneSizes:
    """Sizes from a configuration.

    Raises:
        ValueError: patches other than one frame of 2x2.
    """
    settings = _defaults() | MADE_FOR | dict(config)
    patch = tuple(settings["patch_size"])
    if patch != (1, PATCH, PATCH):
        raise ValueError(
            f"this backbone has patches of {patch} latent frames, rows and columns; diffusers' "
            f"pipeline supports only (1, {PATCH}, {PATCH}); {FITS}"
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
    """The backbone with its intended video size in its configuration."""
    values = (frames, *latent_size, text_tokens)
    backbone.register_to_config(**dict(zip(MADE_FOR, values, strict=True)))
    return backbone


class _OwnEntries(logging.Filter):
    """Silences diffusers' warning about the entries of `MADE_FOR`, which it stores anyway."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        ours = "passed to WanTransformer3DModel" in message and "not expected" in message
        return not (ours and message.count("':") <= sum(name in message for name in MADE_FOR))


class _NoImageEncoder(logging.Filter):
    """Silences transformers' torchvision warning, only relevant to other Wans' image encoder."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("`CLIPImageProcessor` requires torchvision")


logging.getLogger("diffusers.configuration_utils").addFilter(_OwnEntries())
logging.getLogger("transformers.utils.import_utils").addFilter(_NoImageEncoder())


def _defaults() -> dict[str, Any]:
    """Default values of the entries that a `config.json` omits."""
    arguments = inspect.signature(WanTransformer3DModel.__init__).parameters
    return {name: parameter.default for name, parameter in arguments.items()}
