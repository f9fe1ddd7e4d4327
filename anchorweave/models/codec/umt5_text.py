"""UMT5 with a text mask and zero padding, as used by Wan."""

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
    """Masks padding and zeroes its features, as Wan's cross-attention was trained.

    Prompts are cleaned as in diffusers: entities resolved and white space joined, except that
    broken encodings are not repaired: that needs a package (`ftfy`) which diffusers does not
    require.
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
                    f"it was truncated by: {cut!r}",
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
        # Selected, not multiplied: padding may contain NaN.
        return torch.where(mask[..., None].bool(), features, features.new_zeros(()))


def clean(prompt: str) -> str:
    """Resolves HTML entities, including doubly escaped ones, and collapses white space."""
    return " ".join(html.unescape(html.unescape(prompt)).split())
