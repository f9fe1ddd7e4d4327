"""T5 without a text mask, as used by CogVideoX."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from anchorweave.models.codec.base import TextEncoder


class T5Text(TextEncoder):
    """Attends to padding like text, because CogVideoX was trained without a text mask."""

    def encode(
        self, prompts: Sequence[str], max_length: int, device: torch.device | None = None
    ) -> Float[Tensor, "B S D"]:
        """Text features [B, S, D] of prompts; see `TextEncoder`."""
        for prompt in prompts:
            if cut := cut_text(self.tokenizer, prompt, max_length):
                warnings.warn(
                    f"the prompt {prompt!r} is longer than {max_length} tokens; "
                    f"it was truncated by: {cut!r}",
                    stacklevel=2,
                )
        tokens = self.tokenizer(
            list(prompts),
            padding="max_length",
            max_length=max_length,
            truncation=True,
            return_tensors="pt",
        )
        return self.encoder(tokens.input_ids.to(device or self.encoder.device))[0]


def cut_text(tokenizer: PreTrainedTokenizerBase, prompt: str, max_length: int) -> str:
    """The end of `prompt` that exceeds `max_length` tokens; empty if it fits."""
    tokens = tokenizer(prompt, add_special_tokens=False).input_ids
    # The end token counts towards the length.
    return tokenizer.decode(tokens[max_length - 1 :]).strip()
