"""CogVideoX's attention with a faster rotation, and support for diffusers' backends.

Diffusers' own processor rotates queries and keys with real arithmetic and writes them back in
place, which takes three times as long as one complex product (measured on an H200), in each of 42
layers. It also ignores the selected backend.
"""

from __future__ import annotations

import torch
from diffusers.models.attention_processor import Attention, CogVideoXAttnProcessor2_0
from jaxtyping import Bool, Float
from torch import Tensor, nn

from anchorweave.models.cross_anchor_attention import CrossAnchorAttnProcessor


class CogVideoXFastProcessor(CrossAnchorAttnProcessor):
    """Attention over [text | video], with the call signature of diffusers' processors."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Attended video tokens [B, L, D] and text tokens [B, S, D].

        Args:
            attn: diffusers' module that holds the projections.
            hidden_states: video tokens.
            encoder_hidden_states: text tokens.
            attention_mask: mask of keys, additive or boolean.
            image_rotary_emb: cosines and sines [L, d] of the video tokens.
        """
        table = None
        if image_rotary_emb is not None:
            # Each angle is stored twice, for the two halves of a rotated pair.
            parts = [part[:, ::2].to(hidden_states.device).float() for part in image_rotary_emb]
            table = torch.stack(parts, dim=-1)
            unturned = table.new_zeros(encoder_hidden_states.shape[1], *table.shape[1:])
            unturned[..., 0] = 1
            table = torch.cat([unturned, table])[None, None]
        if attention_mask is not None and attention_mask.ndim == 3:
            # The same for all heads.
            attention_mask = attention_mask[:, None]
        return super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, table)


def speed_up(blocks: nn.ModuleList) -> None:
    """Replaces diffusers' own processor; any other one is left alone.

    Args:
        blocks: blocks of a CogVideoX backbone.
    """
    for block in blocks:
        if type(block.attn1.processor) is CogVideoXAttnProcessor2_0:
            block.attn1.set_processor(CogVideoXFastProcessor())


def absence_mask(
    tokens: Float[Tensor, "B L D"], text: int, present: Bool[Tensor, "B L"]
) -> Float[Tensor, "B 1 S_plus_L"]:
    """The additive attention mask: minus infinity for absent tokens.

    Args:
        tokens: tokens of all frames [B, L, D], for shape, dtype and device.
        text: number S of preceding text tokens, which are always present.
        present: False for masked tokens.
    """
    B, L = tokens.shape[:2]
    mask = tokens.new_zeros(B, 1, text + L)
    mask[:, 0, text:] = mask[:, 0, text:].masked_fill(~present, float("-inf"))
    return mask
