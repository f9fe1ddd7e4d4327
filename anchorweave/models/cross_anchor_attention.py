"""Cross-anchor attention: how the tokens of N anchors lie in attention, and the attention itself.

Tokens come as [B, N, L, D] and are arranged once per call into rows that attend among themselves:

* `joint`: one row a sample, all anchors side by side, [B, N*L, D] (paper section 3.4);
* `separate`: one row an anchor, [B*N, L, D] (the ablation of figure 5).

With `tokens="visible"` those that no pixel supports leave their row, which gets shorter by as much.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from diffusers.models.attention_processor import Attention
from einops import rearrange
from jaxtyping import Bool, Complex, Float
from torch import Tensor


class Arrangement:
    """Where each anchor's tokens go in attention, and how they come back.

    Args:
        visible: [B, N, L], True where a token shows seen pixels.
        attention: `joint` or `separate`, see above.
        tokens: `all`, or `visible` to leave out what no pixel supports.
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
        self.index = self.kept = None
        if tokens == "visible":
            counts = rows.sum(dim=1)
            longest = int(counts.max()) if self.rows else 0
            # Stable, so that what stays keeps its order: visible first, padding behind.
            order = torch.argsort(rows.logical_not(), dim=1, stable=True)
            self.index = order[:, :longest]
            # Rows of one length, as guidance makes them, need no mask and keep fast attention.
            if self.rows and int(counts.min()) < longest:
                self.kept = torch.arange(longest, device=rows.device) < counts[:, None]

    def arrange(self, tokens: Float[Tensor, "B N L D"]) -> Float[Tensor, "rows M D"]:
        """The rows that attend, M tokens each."""
        tokens = tokens.reshape(self.rows, self.width, tokens.shape[-1])
        if self.index is None:
            return tokens
        return tokens.gather(1, self.index[..., None].expand(-1, -1, tokens.shape[-1]))

    def restore(self, tokens: Float[Tensor, "rows M D"]) -> Float[Tensor, "B N L D"]:
        """The inverse of `arrange`; where a token was left out, the value means nothing."""
        D = tokens.shape[-1]
        if self.index is not None:
            whole = tokens.new_zeros(self.rows, self.width, D)
            tokens = whole.scatter(1, self.index[..., None].expand(-1, -1, D), tokens)
        return tokens.reshape(self.B, self.N, self.L, D)

    def per_row(self, values: Float[Tensor, "B ..."]) -> Float[Tensor, "rows ..."]:
        """What belongs to a sample (its text, its timestep), once for each of its rows."""
        if self.rows == self.B:
            return values
        return values.repeat_interleave(self.N, dim=0)

    def rotary(
        self, image_rotary_emb: tuple[Float[Tensor, "L d"], Float[Tensor, "L d"]], text: int
    ) -> Complex[Tensor, "rows_or_1 1 S_plus_M half_d"]:
        """Rotations of text (none) and of the tokens where they lie now, heads on axis 1.

        The same positions serve every anchor, so that their order means nothing.
        """
        cosine, sine = (part.to(self.device) for part in image_rotary_emb)
        # diffusers writes each angle twice, for the two halves of a rotated pair
        table = torch.complex(cosine[:, ::2].float(), sine[:, ::2].float())  # [L, d/2]
        table = table.repeat(self.width // self.L if self.L else 0, 1)[None]  # [1, width, d/2]
        if self.index is not None:
            table = table[0][self.index]  # [rows, M, d/2]
        unturned = table.new_ones(len(table), text, table.shape[-1])
        return torch.cat([unturned, table], dim=1)[:, None]

    def mask(self, text: int) -> Bool[Tensor, "rows 1 1 S_plus_M"] | None:
        """True where a key may be attended; None where every one may."""
        if self.kept is None:
            return None
        return F.pad(self.kept, (text, 0), value=True)[:, None, None]


class CrossAnchorAttnProcessor:
    """Attention over [text | anchor tokens] with a rotation of its own for every row.

    Takes the place of diffusers' processor of such blocks, which knows one table for all rows.
    """

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Attended anchor tokens [rows, M, D] and text tokens [rows, S, D].

        Args:
            attn: diffusers' module that holds the projections.
            hidden_states: anchor tokens [rows, M, D].
            encoder_hidden_states: text tokens [rows, S, D].
            attention_mask: `Arrangement.mask`.
            image_rotary_emb: `Arrangement.rotary`.
        """
        S = encoder_hidden_states.shape[1]
        states = torch.cat([encoder_hidden_states, hidden_states], dim=1)
        query, key, value = (
            rearrange(project(states), "r m (heads d) -> r heads m d", heads=attn.heads)
            for project in (attn.to_q, attn.to_k, attn.to_v)
        )
        query, key = attn.norm_q(query), attn.norm_k(key)
        if image_rotary_emb is not None:
            query, key = _turn(query, image_rotary_emb), _turn(key, image_rotary_emb)
        # Norms answer in float32 under autocast; attention wants one type.
        query, key = query.to(value.dtype), key.to(value.dtype)
        states = F.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask)
        states = attn.to_out[0](rearrange(states, "r heads m d -> r m (heads d)"))
        return states[:, S:], states[:, :S]


def _turn(x: Tensor, table: Tensor) -> Tensor:
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * table).flatten(-2).to(x.dtype)
