"""A small T5 or UMT5, and its span-denoising model for training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from transformers import (
    T5Config,
    T5EncoderModel,
    T5ForConditionalGeneration,
    UMT5Config,
    UMT5EncoderModel,
    UMT5ForConditionalGeneration,
)

# Label of positions that are ignored in the loss.
IGNORED = -100
# Configuration, encoder and full model of each kind.
KINDS = {
    "t5": (T5Config, T5EncoderModel, T5ForConditionalGeneration),
    "umt5": (UMT5Config, UMT5EncoderModel, UMT5ForConditionalGeneration),
}
Denoiser = T5ForConditionalGeneration | UMT5ForConditionalGeneration
Encoder = T5EncoderModel | UMT5EncoderModel


@dataclass(frozen=True)
class TextConfig:
    """Architecture of a text encoder.

    Args:
        kind: `t5` (used by CogVideoX) or `umt5` (Wan), with separate positions in every layer.
        channels: width of a token's features; the backbone's `text_embed_dim`.
        layers: layers of the encoder, and of the decoder it is trained with.
        heads: attention heads; must divide `channels`.
        hidden: hidden width of the feed-forward layer.

    Raises:
        ValueError: `heads` does not divide `channels`.
    """

    kind: Literal["t5", "umt5"] = "t5"
    channels: int = 64
    layers: int = 2
    heads: int = 4
    hidden: int = 128

    def __post_init__(self):
        if self.channels % self.heads:
            raise ValueError(
                f"text.channels={self.channels} must be divisible by text.heads={self.heads}"
            )


def text_config(config: TextConfig, vocabulary: int) -> T5Config | UMT5Config:
    """Transformers' configuration for a vocabulary of this size."""
    return KINDS[config.kind][0](
        vocab_size=vocabulary,
        d_model=config.channels,
        d_kv=config.channels // config.heads,
        d_ff=config.hidden,
        num_layers=config.layers,
        num_heads=config.heads,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
    )


def small_denoiser(config: TextConfig, vocabulary: int, gaps: int, seed: int) -> Denoiser:
    """An encoder and decoder trained to predict the tokens missing from gaps in a text.

    Args:
        config: its architecture.
        vocabulary: tokens of the tokenizer; the sentinel tokens of gaps have the ids that follow.
        gaps: number of sentinel tokens.
        seed: seed of the weights; the global random state is not changed.
    """
    whole = text_config(config, vocabulary + gaps)
    # Decoding starts with the padding token, as in T5 and UMT5.
    whole.decoder_start_token_id = whole.pad_token_id
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return KINDS[config.kind][2](whole)


def encoder_of(denoiser: Denoiser, config: TextConfig, vocabulary: int) -> Encoder:
    """The encoder of `small_denoiser`, with the tokenizer's vocabulary only."""
    weights = denoiser.state_dict()
    with torch.random.fork_rng(devices=[]):
        encoder = KINDS[config.kind][1](text_config(config, vocabulary)).eval()
    encoder_weights = {name: weights[name] for name in encoder.state_dict()}
    for name in ("shared.weight", "encoder.embed_tokens.weight"):
        encoder_weights[name] = encoder_weights[name][:vocabulary]
    encoder.load_state_dict(encoder_weights)
    return encoder
