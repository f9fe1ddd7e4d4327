"""From prompts to the T5 features that a CogVideoX backbone reads."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedTokenizerBase, T5EncoderModel


def encode_prompts(
    tokenizer: PreTrainedTokenizerBase,
    text_encoder: T5EncoderModel,
    prompts: Sequence[str],
    max_length: int,
    device: torch.device | None = None,
) -> Float[Tensor, "B S D"]:
    """Text features [B, S, D] of prompts, padded to S = `max_length` tokens.

    Padding is attended like text, because CogVideoX was trained without a text mask.

    Args:
        tokenizer: T5's.
        text_encoder: T5's encoder half.
        prompts: B of them; what does not fit is cut, with a warning that holds it.
        max_length: tokens, the end mark included (`max_text_seq_length` of the backbone).
        device: where the encoder computes; None = where its weights lie (offloaded ones lie
            elsewhere).
    """
    for prompt in prompts:
        if cut := cut_text(tokenizer, prompt, max_length):
            warnings.warn(
                f"the prompt {prompt!r} is longer than {max_length} tokens; "
                f"this part of it was cut: {cut!r}",
                stacklevel=2,
            )
    tokens = tokenizer(
        list(prompts),
        padding="max_length",
        max_length=max_length,
        truncation=True,
        return_tensors="pt",
    )
    return text_encoder(tokens.input_ids.to(device or text_encoder.device))[0]


def cut_text(tokenizer: PreTrainedTokenizerBase, prompt: str, max_length: int) -> str:
    """The end of `prompt` that does not fit `max_length` tokens; empty where all of it fits."""
    tokens = tokenizer(prompt, add_special_tokens=False).input_ids
    # One token of the length is the end mark.
    return tokenizer.decode(tokens[max_length - 1 :]).strip()
