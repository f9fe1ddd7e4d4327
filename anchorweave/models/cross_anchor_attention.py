"""Cross-anchor attention: the layout of the tokens of N anchors, and the attention itself.

Tokens come as [B, N, L, D] and are rearranged once per call into rows; each row attends to itself:

* `joint`: one row per sample with all its anchors, [B, N*L, D] (paper section 3.4);
* `separate`: one row per anchor, [B*N, L, D] (the ablation of figure 5).

With `tokens="visible"`, tokens without any observed pixel are removed, which shortens the rows.
Rows of unequal lengths are padded in memory but attend one by one, because a mask would prevent
fast attention kernels (measured on an H200: 1.6 times the forward time).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from diffusers.models.attention_dispatch import AttentionBackendName, dispatch_attention_fn
from diffusers.models.attention_processor import Attention
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from anchorweave.models.weaving.visible_sum import visible_sum


class Arrangement:
    """The layout of all anchors' tokens in attention, and its inverse.

    Args:
        visible: [B, N, L], True where a token contains observed pixels.
        attention: `joint` or `separate`, see above.
        tokens: `all`, or `visible` to remove tokens without observed pixels.

    Attributes:
        index: [rows, M], the position of each attending token in its full row; None = all.
        lengths: number of real tokens in each row, followed by padding; None = no padding.
    """

    def __init__(
        self,
        visible: Bool[Tensor, "B N L"],
        attention: str = "joint",
        tokens: str = "all",
    ):
        self.B, self.N, self.L = visible.shape
        self.device = visible.device
        # [row, token]; a row holds the tokens of one sample, or of one anchor
        rows = visible.flatten(1) if attention == "joint" else visible.flatten(0, 1)
        self.rows, self.width = rows.shape
        self.index = self.lengths = None
        if tokens == "visible":
            # The only synchronisation of host and device.
            lengths = rows.sum(dim=1).tolist()
            longest = max(lengths, default=0)
            # Stable, so that order is preserved: visible tokens first, padding last.
            order = torch.argsort(rows.logical_not(), dim=1, stable=True)
            self.index = order[:, :longest]
            if lengths and min(lengths) < longest:
                self.lengths = tuple(lengths)

    def arrange(self, tokens: Float[Tensor, "B N L D"]) -> Float[Tensor, "rows M D"]:
        """The attending rows, M tokens each."""
        tokens = tokens.reshape(self.rows, self.width, tokens.shape[-1])
        if self.index is None:
            return tokens
        return tokens.gather(1, self.index[..., None].expand(-1, -1, tokens.shape[-1]))

    def spread(self, tokens: Float[Tensor, "B L D"]) -> Float[Tensor, "rows M D"]:
        """Repeats the video's tokens for every anchor's token at the same position, in rows."""
        if self.index is None:
            return self.arrange(tokens[:, None].expand(-1, self.N, -1, -1))
        places = (self.index % self.L)[..., None].expand(-1, -1, tokens.shape[-1])
        return self.per_row(tokens).gather(1, places)

    def fuse(
        self, tokens: Float[Tensor, "rows M D"], weights: Float[Tensor, "B N L"]
    ) -> Float[Tensor, "B L D"]:
        """Weighted sum over the anchors at each position.

        Args:
            tokens: in the attention layout.
            weights: 0 for tokens that are not visible.
        """
        if self.index is None:
            tokens = tokens.reshape(self.B, self.N, self.L, tokens.shape[-1])
            return (tokens * weights.to(tokens.dtype)[..., None]).sum(dim=1)
        return visible_sum(tokens, weights, self.index)

    def per_row(self, values: Float[Tensor, "B ..."]) -> Float[Tensor, "rows ..."]:
        """Repeats per-sample values (text, timestep) for each of the sample's rows."""
        if self.rows == self.B:
            return values
        return values.repeat_interleave(self.N, dim=0)

    def rotary(
        self, image_rotary_emb: tuple[Float[Tensor, "L d"], Float[Tensor, "L d"]], text: int
    ) -> Float[Tensor, "rows_or_1 1 S_plus_M half_d 2"]:
        """Cosines and sines of text (no rotation) and of the attending tokens, heads on axis 1.

        All anchors share the same positions, so that their order does not matter.
        """
        # diffusers stores each angle twice, for the two halves of a rotated pair
        parts = [part[:, ::2].to(self.device, torch.float32) for part in image_rotary_emb]
        table = torch.stack(parts, dim=-1)  # [L, d/2, 2]
        if self.index is None:
            table = table.repeat(self.width // self.L if self.L else 0, 1, 1)[None]
        else:
            table = table[self.index % max(self.L, 1)]  # [rows, M, d/2, 2]
        unturned = table.new_zeros(len(table), text, *table.shape[2:])
        unturned[..., 0] = 1
        return torch.cat([unturned, table], dim=1)[:, None]


class CrossAnchorAttnProcessor:
    """Attention over [text | anchor tokens] with a separate rotation for every row.

    Replaces diffusers' processor of such blocks, which uses one table for all rows.
    """

    # Set by diffusers' `set_attention_backend`; None = torch's choice.
    _attention_backend: AttentionBackendName | None = None

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Tensor | None = None,
        lengths: tuple[int, ...] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Attended anchor tokens [rows, M, D] and text tokens [rows, S, D].

        Args:
            attn: diffusers' module that holds the projections.
            hidden_states: anchor tokens [rows, M, D].
            encoder_hidden_states: text tokens [rows, S, D].
            attention_mask: key mask, in torch's format.
            image_rotary_emb: `Arrangement.rotary`.
            lengths: `Arrangement.lengths`; padding gets zeros.
        """
        S = encoder_hidden_states.shape[1]
        if lengths is not None:
            rows = [
                self(
                    attn,
                    hidden_states[row : row + 1, :length],
                    encoder_hidden_states[row : row + 1],
                    image_rotary_emb=None
                    if image_rotary_emb is None
                    else image_rotary_emb[row : row + 1, :, : S + length],
                )
                for row, length in enumerate(lengths)
            ]
            return padded([tokens for tokens, _ in rows], hidden_states.shape[1]), torch.cat(
                [text for _, text in rows]
            )
        states = torch.cat([encoder_hidden_states, hidden_states], dim=1)
        query, key, value = (
            rearrange(project(states), "r m (heads d) -> r heads m d", heads=attn.heads)
            for project in (attn.to_q, attn.to_k, attn.to_v)
        )
        query, key = attn.norm_q(query), attn.norm_k(key)
        if image_rotary_emb is not None:
            query, key = turn(query, image_rotary_emb), turn(key, image_rotary_emb)
        # Norms return float32 under autocast; attention needs one dtype.
        query, key = query.to(value.dtype), key.to(value.dtype)
        states = attend(query, key, value, attention_mask, self._attention_backend)
        states = attn.to_out[0](rearrange(states, "r heads m d -> r m (heads d)"))
        return states[:, S:], states[:, :S]


def attend(
    query: Float[Tensor, "rows heads M d"],
    key: Float[Tensor, "rows heads M2 d"],
    value: Float[Tensor, "rows heads M2 d"],
    mask: Tensor | None,
    backend: AttentionBackendName | None,
) -> Float[Tensor, "rows heads M d"]:
    """Attention by torch, or by one of diffusers' backends."""
    if backend is None:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    # Diffusers' backends have the head axis after tokens.
    query, key, value = (part.transpose(1, 2) for part in (query, key, value))
    states = dispatch_attention_fn(query, key, value, attn_mask=mask, backend=backend)
    return states.transpose(1, 2)


def padded(rows: list[Float[Tensor, "1 _ D"]], length: int) -> Float[Tensor, "rows M D"]:
    """Rows of unequal lengths as one zero-padded tensor."""
    return torch.cat([F.pad(row, (0, 0, 0, length - row.shape[1])) for row in rows])


def turn(
    x: Float[Tensor, "rows heads M d"], table: Float[Tensor, "_ 1 M half_d 2"]
) -> Float[Tensor, "rows heads M d"]:
    """Rotates queries or keys by the angles of their positions, in float32."""
    pairs = x.float().unflatten(-1, (-1, 2))
    if torch.compiler.is_compiling():
        # Compilers fuse real arithmetic but not complex.
        (real, imaginary), (cosine, sine) = pairs.unbind(-1), table.unbind(-1)
        turned = torch.stack(
            [real * cosine - imaginary * sine, real * sine + imaginary * cosine], dim=-1
        )
    else:
        # In eager mode, one complex product takes a third of the time of four real ones.
        turned = torch.view_as_real(torch.view_as_complex(pairs) * torch.view_as_complex(table))
    return turned.flatten(-2).to(x.dtype)
