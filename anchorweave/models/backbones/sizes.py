"""BackboneSizes: the sizes of a backbone, and which of them other networks are made for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# What of its sizes a controller is made for, under the names of its own configuration.
OF_CONTROLLER = (
    "backbone_dim",
    "latent_channels",
    "text_dim",
    "patch_size",
    "temporal_compression",
    "spatial_interpolation_scale",
    "temporal_interpolation_scale",
    "rotary",
    # One rotary table serves both, so their heads are of one width.
    "head_dim",
    "time_embed_dim",
)
# Likewise a reference network.
OF_REFERENCES = ("backbone_dim", "latent_channels", "patch_size", "num_layers")


@dataclass(frozen=True)
class BackboneSizes:
    """The sizes of a backbone.

    Args:
        backbone_dim: width of a token.
        num_layers: blocks.
        num_heads: attention heads.
        head_dim: width of one.
        input_channels: of the latents that it is called with, the image's included where these are
            joined on channels.
        latent_channels: channels C of the VAE, which it predicts.
        text_dim: width of the prompt features.
        text_tokens: how many tokens of a prompt it reads.
        time_embed_dim: width of the timestep embedding.
        feed_forward: width inside the feed-forward part of a block.
        patch_size: latent pixels along one side of a token.
        temporal_compression: video frames in one latent frame behind the first.
        rotary: whether queries and keys are turned by a rotary table.
        frames: T of the videos that it was made for.
        latent_size: (h, w) of their latents.
        joint_text: whether text and image tokens attend as one sequence; else blocks read text by
            cross-attention, and take a timestep for every token.
        learned_positions: whether it learned its positions at that size and takes no other.
        spatial_interpolation_scale: of fixed sin-cos positions, where it has such.
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
        """Some of them by name."""
        return {name: getattr(self, name) for name in names}
