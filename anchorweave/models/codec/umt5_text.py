"""UMT5 with a mask of the text and zeros behind it, as Wan reads it."""

from __future__ import annotations

import html
import warnings
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.models.codec.base import TextEncoder
from anchorweave.models.codec.t5_text import cut_text


class UMT5Text(TextEncoder):
    """Padding is not attended and comes out as zeros, which Wan's cross-attention was trained with.

    Prompts are cleaned as diffusers does, entities resolved and white space joined, but broken
    encodings are not mended: that takes a package (`ftfy`) which diffusers does not ask for.
    """

    def encode(
        self, prompts: Sequence[str], max_length: int, device: torch.device | None = None
    ) -> Float[Tensor, "B S D"]:
        """Text features [B, S, D] of prompts; see `TextEncoder`."""
        cleaned = [clean(prompt) for prompt in prompts]
        for prompt in cleaned:
            if cut := cut_text(self.tokenizer, prompt, max_length):
                warnings.warn(
                    f"the prompt {prompt!r} is longer than {max_length} tokens; "
                    f"this part of it was cut: {cut!r}",
                    stacklevel=2,
                )
        tokens = self.tokenizer(
            cleaned,
            padding="max_length",
            max_length=max_length,
            truncation=True,
            return_attention_mask=True,
            return_tensors="pt",
        )
        device = device or self.encoder.device
        mask = tokens.attention_mask.to(device)
        features = self.encoder(tokens.input_ids.to(device), mask).last_hidden_state
        # Selected, not multiplied: padding may hold anything.
        return torch.where(mask[..., None].bool(), features, features.new_zeros(()))


def clean(prompt: str) -> str:
    """Text with HTML entities resolved, doubly escaped ones too, and white space collapsed."""
    return " ".join(html.unescape(html.unescape(prompt)).split())
