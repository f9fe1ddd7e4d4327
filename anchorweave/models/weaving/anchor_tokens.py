"""Anchor tokens, each paired with the noisy latents, computed at once or as a sum of two terms.

The projection is linear, so the anchors' term can be reused in every sampling step. The projection
is called as a whole rather than split, because LoRA and offloading act on calls.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

# From [frames, 2 C, h, w] to [frames, D, h//2, w//2].
Projection = Callable[[Tensor], Tensor]


def anchor_tokens(
    project: Projection,
    noisy_latents: Float[Tensor, "B t C h w"],
    anchor_latents: Float[Tensor, "B N t C h w"],
) -> Float[Tensor, "B N L D"]:
    """Tokens of every anchor, each paired with the noisy latents."""
    latents = anchor_latents.to(noisy_latents)
    noisy = noisy_latents[:, None].expand(-1, latents.shape[1], -1, -1, -1, -1)
    return _projected(project, torch.cat([noisy, latents], dim=3))


def noisy_share(
    project: Projection, noisy_latents: Float[Tensor, "B t C h w"]
) -> Float[Tensor, "B L D"]:
    """The noisy latents' term in the tokens of every anchor, with the bias."""
    nothing = torch.zeros_like(noisy_latents)
    return _projected(project, torch.cat([noisy_latents, nothing], dim=2)[:, None])[:, 0]


def anchors_share(
    project: Projection, anchor_latents: Float[Tensor, "B N t C h w"]
) -> Float[Tensor, "B N L D"]:
    """The anchors' term in their tokens, without the bias."""
    h, w = anchor_latents.shape[-2:]
    both = torch.cat([torch.zeros_like(anchor_latents), anchor_latents], dim=3)
    bias = _projected(project, both.new_zeros(1, 1, 1, both.shape[3], h, w))[:, :, :1]
    return _projected(project, both) - bias


def _projected(
    project: Projection, latents: Float[Tensor, "B N t C2 h w"]
) -> Float[Tensor, "B N L D"]:
    B, N, t = latents.shape[:3]
    tokens = project(latents.flatten(0, 2))
    return rearrange(tokens, "(B N t) D h w -> B N (t h w) D", B=B, N=N, t=t)
