"""The sum over anchors of their visible tokens, without storing invisible ones."""

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
    """For each of L places the anchors' tokens summed with their weights, in float32.

    The same as putting the tokens back to [B, N, L, D] and summing there, but that tensor is never
    made, nor kept for the backward pass: what is kept is `tokens`, which the next block keeps too.
    It gathers in both directions, so that the order of summation never changes.

    Args:
        tokens: in the layout of attention, one row per sample or per anchor.
        weights: 0 where no token is (what pads has weight 0 as well).
        index: number of each token in its whole row, N * L or L places long.
    """
    return _VisibleSum.apply(tokens, weights, index)


class _VisibleSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, tokens: Tensor, weights: Tensor, index: Tensor) -> Tensor:
        B, N, L = weights.shape
        rows, M, D = tokens.shape
        # A token's place among all of [B, N, L]; unique, padding included.
        width = N * L if rows == B else L
        place = (index + torch.arange(rows, device=index.device)[:, None] * width).flatten()
        ctx.save_for_backward(tokens, weights, place)
        if not place.numel():
            return tokens.new_zeros(B, L, D)
        # Where there is no token, the first one is used with a weight of 0.
        number = place.new_zeros(B * N * L)
        number[place] = torch.arange(len(place), device=place.device)
        number, flat = number.view(B, N, L), tokens.reshape(rows * M, D)
        total = torch.zeros(B * L, D, dtype=torch.float32, device=tokens.device)
        for n in range(N):
            shown = flat.index_select(0, number[:, n].flatten())
            total += shown * weights[:, n].reshape(B * L, 1).float()
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
