"""Wan blocks whose self-attention supports a mask, or rows of unequal lengths."""

from __future__ import annotations

from diffusers.models.embeddings import TimestepEmbedding
from diffusers.models.transformers.transformer_wan import (
    WanAttention,
    WanAttnProcessor,
    WanTransformerBlock,
)
from jaxtyping import Float
from torch import Tensor, nn

from anchorweave.models.cross_anchor_attention import padded


class MaskedWanAttnProcessor(WanAttnProcessor):
    """Diffusers' attention, with a mask or lengths as a third value after cosines and sines.

    Diffusers' block passes only the rotary table to its attention. Without a third value this is
    diffusers' own attention; with lengths (`Arrangement.lengths`) every row attends separately.
    """

    def __call__(
        self,
        attn: WanAttention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: tuple[Tensor | tuple[int, ...], ...] | None = None,
    ) -> Tensor:
        """Attended tokens; see diffusers."""
        if rotary_emb is not None and len(rotary_emb) == 3:
            *rotary_emb, attention_mask = rotary_emb
        if isinstance(attention_mask, tuple):
            return self._by_row(attn, hidden_states, rotary_emb, attention_mask)
        return super().__call__(
            attn, hidden_states, encoder_hidden_states, attention_mask, rotary_emb
        )

    def _by_row(
        self,
        attn: WanAttention,
        states: Tensor,
        tables: list[Tensor],
        lengths: tuple[int, ...],
    ) -> Tensor:
        rows = []
        for row, length in enumerate(lengths):
            row_states = states[row : row + 1, :length]
            if length:
                turned = tuple(table[row : row + 1, :length] for table in tables)
                row_states = super().__call__(attn, row_states, None, None, turned)
            rows.append(row_states)
        return padded(rows, states.shape[1])


def let_blocks_be_masked(block: nn.Module) -> None:
    """Makes a block's self-attention support a mask; without one it is unchanged.

    Args:
        block: diffusers' own, or a replacement.
    """
    for module in block.modules():
        if isinstance(module, WanAttention) and not module.is_cross_attention:
            if not isinstance(module.processor, MaskedWanAttnProcessor):
                module.set_processor(MaskedWanAttnProcessor())


class TimeModulation(nn.Module):
    """Shifts, scales and gates of all blocks from a timestep's sines, with the backbone's names.

    Args:
        sines: number of sines.
        dim: width of the blocks.
    """

    def __init__(self, sines: int, dim: int):
        super().__init__()
        self.time_embedder = TimestepEmbedding(sines, dim)
        self.time_proj = nn.Linear(dim, 6 * dim)

    def forward(self, sines: Float[Tensor, "B sines"]) -> Float[Tensor, "B 6 dim"]:
        """Six vectors per sample."""
        embedded = nn.functional.silu(self.time_embedder(sines))
        return self.time_proj(embedded).unflatten(1, (6, -1))


class WanControllerBlock(WanTransformerBlock):
    """A Wan block over anchor tokens, with the backbone's weight shapes and names.

    Args:
        dim: width.
        feed_forward: hidden width of its feed-forward layer.
        num_heads: attention heads.
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
        lengths: tuple[int, ...] | Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Tokens, and the unchanged text; a key mask may be given instead of lengths."""
        if not tokens.numel():
            # No anchor has any token: nothing to attend to.
            return tokens, text
        rotary = table if lengths is None else (*table, lengths)
        return super().forward(tokens, text, time, rotary), text
