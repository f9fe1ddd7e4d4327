"""Pose-guided fusion: weights for averaging the anchors' features, computed from their cameras."""

from __future__ import annotations

import torch
from einops import rearrange, reduce
from jaxtyping import Bool, Float
from torch import Tensor, nn

# Weights of tokens that no anchor shows sum to zero; they stay 0 instead of NaN.
SMALLEST_SUM = 1e-8


class PoseGuidedFusion(nn.Module):
    """Weights of the anchors from the target camera's pose relative to each memory.

    A small network predicts per video frame how reliable a memory is from that viewpoint; invisible
    tokens get no weight.

    Args:
        dim: width of the controller; the network's layers have 1/4, 1/8 and 1/16 of it.
        temporal_compression: pixel frames per latent frame.

    Source: paper section 3.4. It describes weights per layer; the released code, followed here,
    computes them once for all layers.
    """

    def __init__(self, dim: int, temporal_compression: int):
        super().__init__()
        self.temporal_compression = temporal_compression
        self.confidence = nn.Sequential(
            nn.Linear(12, dim // 4),
            nn.GELU(),
            nn.Linear(dim // 4, dim // 8),
            nn.GELU(),
            nn.Linear(dim // 8, dim // 16),
            nn.GELU(),
            nn.Linear(dim // 16, 1),
            nn.Sigmoid(),
        )

    def forward(
        self,
        visible_tokens: Bool[Tensor, "B N t h2 w2"],
        target2source: Float[Tensor, "B N T 4 4"],
    ) -> Float[Tensor, "B N t h2 w2"]:
        """Weights [B, N, t, h//2, w//2] that sum to 1 over the anchors in which a token is visible.

        Args:
            visible_tokens: True where a token contains observed pixels.
            target2source: the target camera relative to the memory's, T = (t - 1) * compression +
                1.
        """
        pose = rearrange(target2source[..., :3, :], "B N T i j -> B N T (i j)")
        confidence = self.confidence(pose).squeeze(-1)
        later = reduce(
            confidence[:, :, 1:], "B N (t a) -> B N t", "mean", a=self.temporal_compression
        )
        confidence = torch.cat([confidence[:, :, :1], later], dim=2)
        return _shares(visible_tokens * confidence[..., None, None])


class AverageFusion(nn.Module):
    """The ablation without poses: equal weights for all visible anchors (paper figure 5)."""

    def forward(
        self,
        visible_tokens: Bool[Tensor, "B N t h2 w2"],
        target2source: Float[Tensor, "B N T 4 4"],
    ) -> Float[Tensor, "B N t h2 w2"]:
        """Weights [B, N, t, h//2, w//2] that sum to 1 over the anchors showing a token."""
        return _shares(visible_tokens.to(target2source.dtype))


def _shares(weights: Tensor) -> Tensor:
    return weights / weights.sum(dim=1, keepdim=True).clamp(min=SMALLEST_SUM)
