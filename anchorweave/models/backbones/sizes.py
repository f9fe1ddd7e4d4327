"""BackboneSizes: the sizes of a backbone, and those that other networks must match."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Sizes that a controller must match, by the names in its own configuration.
OF_CONTROLLER = (
    "backbone_dim",
    "latent_channels",
    "text_dim",
    "patch_size",
    "temporal_compression",
    "spatial_interpolation_scale",
    "temporal_interpolation_scale",
    "rotary",
    # They share one rotary table, so their heads have the same width.
    "head_dim",
    "time_embed_dim",
)
# Likewise for a reference network.
OF_REFERENCES = ("backbone_dim", "latent_channels", "patch_size", "num_layers")


@dataclass(frozen=True)
class BackboneSizes:
    """The sizes of a backbone.

    Args:
        backbone_dim: width of a token.
        num_layers: number of blocks.
        num_heads: attention heads.
        head_dim: width of a head.
        input_channels: channels of its input latents, including the image's if these are
            concatenated on channels.
        latent_channels: channels C of the VAE, which it predicts.
        text_dim: width of the prompt features.
        text_tokens: number of prompt tokens.
        time_embed_dim: width of the timestep embedding.
        feed_forward: hidden width of a block's feed-forward layer.
        patch_size: latent pixels along one side of a token.
        temporal_compression: video frames per latent frame after the first.
        rotary: whether queries and keys use a rotary table.
        frames: T of the videos it was trained on.
        latent_size: (h, w) of their latents.
        joint_text: whether text and image tokens attend jointly; otherwise blocks use
            cross-attention to text, and take a timestep per token.
        learned_positions: whether positions were learned for that size and no other is possible.
        spatial_interpolation_scale: for fixed sin-cos positions, if any.
        temporal_interpolation_scale: likewise.
    """

    backbone_dim: int
    num_layers: int
    num_heads: int
    head_dim: int
    input_channels: int
    latent_channels: int
    text_dim: int
    text_tokens: int
    time_embed_dim: int
    feed_forward: int
    patch_size: int
    temporal_compression: int
    rotary: bool
    frames: int
    latent_size: tuple[int, int]
    joint_text: bool = True
    learned_positions: bool = False
    spatial_interpolation_scale: float = 1.0
    temporal_interpolation_scale: float = 1.0

    def of(self, names: Sequence[str]) -> dict[str, Any]:
        """Some of them, by name."""
        return {name: getattr(self, name) for name in names}
