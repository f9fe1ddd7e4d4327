"""Wan blocks with a mask in their attention over tokens, which diffusers' take none for."""

from __future__ import annotations

from diffusers.models.embeddings import TimestepEmbedding
from diffusers.models.transformers.transformer_wan import (
    WanAttention,
    WanAttnProcessor,
    WanTransformerBlock,
)
from jaxtyping import Bool, Float
from torch import Tensor, nn


class MaskedWanAttnProcessor(WanAttnProcessor):
    """Diffusers' attention, with a mask as a third beside cosines and sines.

    Diffusers' block hands its attention nothing but the rotary table. Without a third it is
    diffusers' own.
    """

    def __call__(
        self,
        attn: WanAttention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: tuple[Tensor, ...] | None = None,
    ) -> Tensor:
        """Attended tokens; see diffusers."""
        if rotary_emb is not None and len(rotary_emb) == 3:
            *rotary_emb, attention_mask = rotary_emb
        return super().__call__(
            attn, hidden_states, encoder_hidden_states, attention_mask, rotary_emb
        )


def let_blocks_be_masked(block: nn.Module) -> None:
    """Let a block's attention over tokens take a mask; without one it answers as before.

    Args:
        block: diffusers' own, or what stands in its place.
    """
    for module in block.modules():
        if isinstance(module, WanAttention) and not module.is_cross_attention:
            if not isinstance(module.processor, MaskedWanAttnProcessor):
                module.set_processor(MaskedWanAttnProcessor())


class TimeModulation(nn.Module):
    """Shifts, scales and gates of all blocks from a timestep's sines, under the backbone's names.

    Args:
        sines: how many.
        dim: width of the blocks.
    """

    def __init__(self, sines: int, dim: int):
        super().__init__()
        self.time_embedder = TimestepEmbedding(sines, dim)
        self.time_proj = nn.Linear(dim, 6 * dim)

    def forward(self, sines: Float[Tensor, "B sines"]) -> Float[Tensor, "B 6 dim"]:
        """Six vectors a sample."""
        embedded = nn.functional.silu(self.time_embedder(sines))
        return self.time_proj(embedded).unflatten(1, (6, -1))


class WanControllerBlock(WanTransformerBlock):
    """A Wan block over anchor tokens; of the weights and names of the backbone's.

    Args:
        dim: width.
        feed_forward: width inside its feed-forward part.
        num_heads: of its attention.
    """

    def __init__(self, dim: int, feed_forward: int, num_heads: int):
        super().__init__(dim, feed_forward, num_heads, cross_attn_norm=True)
        let_blocks_be_masked(self)

    def forward(
        self,
        tokens: Float[Tensor, "rows M dim"],
        text: Float[Tensor, "rows S dim"],
        time: Float[Tensor, "rows 6 dim"],
        table: tuple[Tensor, Tensor],
        mask: Bool[Tensor, "rows 1 1 M"] | None,
    ) -> tuple[Tensor, Tensor]:
        """Tokens, and the text as it came."""
        if not tokens.numel():
            # No anchor has a token: there is nothing to attend to, nor for whom.
            return tokens, text
        rotary = table if mask is None else (*table, mask)
        return super().forward(tokens, text, time, rotary), text
