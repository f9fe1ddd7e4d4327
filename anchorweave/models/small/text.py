"""A small T5, and its training as a denoiser of texts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import T5Config, T5EncoderModel, T5ForConditionalGeneration

# In a denoiser's target, what is no token and counts for nothing.
IGNORED = -100


@dataclass(frozen=True)
class TextConfig:
    """Architecture of a T5.

    Args:
        channels: of a token's features; the backbone's `text_embed_dim`.
        layers: of the encoder, and as many of the decoder that it is trained with.
        heads: of the attention; divides `channels`.
        hidden: channels inside the feed-forward part.

    Raises:
        ValueError: heads that do not divide the channels.
    """

    channels: int = 64
    layers: int = 2
    heads: int = 4
    hidden: int = 128

    def __post_init__(self):
        if self.channels % self.heads:
            raise ValueError(
                f"text.channels={self.channels} must be divisible by text.heads={self.heads}"
            )


def t5_config(config: TextConfig, vocabulary: int) -> T5Config:
    """The configuration of transformers for a T5 of `vocabulary` tokens."""
    return T5Config(
        vocab_size=vocabulary,
        d_model=config.channels,
        d_kv=config.channels // config.heads,
        d_ff=config.hidden,
        num_layers=config.layers,
        num_heads=config.heads,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
    )


def small_denoiser(
    config: TextConfig, vocabulary: int, gaps: int, seed: int
) -> T5ForConditionalGeneration:
    """An encoder and a decoder that is to name the tokens missing from gaps in a text.

    Args:
        config: its architecture.
        vocabulary: tokens of the tokenizer; the marks of gaps have the ids that follow.
        gaps: how many marks there are.
        seed: of the weights; the global random state is left as it was.
    """
    whole = t5_config(config, vocabulary + gaps)
    # The decoder starts from the padding token, as T5's own does.
    whole.decoder_start_token_id = whole.pad_token_id
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return T5ForConditionalGeneration(whole)


def encoder_of(
    denoiser: T5ForConditionalGeneration, config: TextConfig, vocabulary: int
) -> T5EncoderModel:
    """The encoder half of `small_denoiser`, which knows the tokenizer's tokens only."""
    weights = denoiser.state_dict()
    with torch.random.fork_rng(devices=[]):
        encoder = T5EncoderModel(t5_config(config, vocabulary)).eval()
    kept = {name: weights[name] for name in encoder.state_dict()}
    for name in ("shared.weight", "encoder.embed_tokens.weight"):
        kept[name] = kept[name][:vocabulary]
    encoder.load_state_dict(kept)
    return encoder
