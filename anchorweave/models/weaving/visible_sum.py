"""The weighted sum of visible tokens over anchors, without storing invisible ones."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


def visible_sum(
    tokens: Float[Tensor, "rows M D"],
    weights: Float[Tensor, "B N L"],
    index: Int64[Tensor, "rows M"],
) -> Float[Tensor, "B L D"]:
    """The weighted sum over the anchors' tokens at each of L positions, in float32.

    Equivalent to scattering the tokens to [B, N, L, D] and summing, but without allocating that
    tensor or saving it for the backward pass, which needs only `tokens`, saved by the next block
    anyway. Both directions use gathers, so that the order of summation is deterministic.

    Args:
        tokens: in the attention layout, one row per sample or per anchor.
        weights: 0 where there is no token (padding has weight 0 as well).
        index: position of each token in its full row of N * L or L positions.
    """
    return _VisibleSum.apply(tokens, weights, index)


class _VisibleSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, tokens: Tensor, weights: Tensor, index: Tensor) -> Tensor:
        B, N, L = weights.shape
        rows, M, D = tokens.shape
        # A token's position in [B, N, L]; unique, including padding.
        width = N * L if rows == B else L
        place = (index + torch.arange(rows, device=index.device)[:, None] * width).flatten()
        ctx.save_for_backward(tokens, weights, place)
        if not place.numel():
            return tokens.new_zeros(B, L, D)
        # Positions without a token use the first one with a weight of 0.
        number = place.new_zeros(B * N * L)
        number[place] = torch.arange(len(place), device=place.device)
        number, flat = number.view(B, N, L), tokens.reshape(rows * M, D)
        total = torch.zeros(B * L, D, dtype=torch.float32, device=tokens.device)
        for n in range(N):
            gathered = flat.index_select(0, number[:, n].flatten())
            total += gathered * weights[:, n].reshape(B * L, 1).float()
        return total.view(B, L, D).to(tokens.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        tokens, weights, place = ctx.saved_tensors
        B, N, L = weights.shape
        D = tokens.shape[-1]
        # [B, N, L] -> [B, L]
        target = place // (N * L) * L + place % L
        arrived = gradient.reshape(B * L, D).index_select(0, target)
        of_weights = weights.new_zeros(B * N * L)
        of_weights[place] = (arrived * tokens.reshape(-1, D)).sum(-1).to(weights.dtype)
        of_tokens = arrived * weights.reshape(-1)[place][:, None].to(arrived.dtype)
        return of_tokens.view_as(tokens).to(tokens.dtype), of_weights.view_as(weights), None
