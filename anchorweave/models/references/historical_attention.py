"""Historical cross-attention: the video's tokens attend to those of reference frames.

The method of SPMem's episodic memory (section 3): after some blocks of the backbone its video
tokens are the queries, and tokens of the key frames are the keys and values.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import get_2d_sincos_pos_embed
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from anchorweave.anchors import ReferenceLatents
from anchorweave.models.backbones import Family, family_of
from anchorweave.models.backbones.sizes import OF_REFERENCES
from anchorweave.models.insertions import replace_blocks
from anchorweave.models.precision import autocast_here


class HistoricalAttention(ModelMixin, ConfigMixin):
    """Cross-attention to references after every `interval`-th block, starting with the first.

    Args:
        backbone_dim: width of the backbone.
        latent_channels: channels of the VAE's latents.
        patch_size: in latent pixels.
        num_layers: number of backbone blocks.
        interval: stride in blocks between such layers (released code: 14, which makes three; the
            paper's figure shows one in every block).
        heads: attention heads per layer (released code: 16).
        head_dim: width of a head (released code: 128).

    Source: SPMem, section 3 and its released code, whose layers start with random output; ours
    start at zero, so that a new one has no effect.
    """

    @register_to_config
    def __init__(
        self,
        backbone_dim: int,
        latent_channels: int,
        patch_size: int,
        num_layers: int,
        interval: int = 14,
        heads: int = 16,
        head_dim: int = 128,
    ):
        super().__init__()
        if interval < 1:
            raise ValueError(f"reference_interval={interval} must be 1 or more")
        self.patch = nn.Conv2d(latent_channels, backbone_dim, patch_size, stride=patch_size)
        self.norm_references = nn.LayerNorm(backbone_dim)
        self.places = range(0, num_layers, interval)
        self.norms = nn.ModuleList(nn.LayerNorm(backbone_dim) for _ in self.places)
        self.layers = nn.ModuleList(
            Attention(
                backbone_dim,
                cross_attention_dim=backbone_dim,
                heads=heads,
                dim_head=head_dim,
                qk_norm="layer_norm",
                bias=True,
            )
            for _ in self.places
        )
        for layer in self.layers:
            nn.init.zeros_(layer.to_out[0].weight)
            nn.init.zeros_(layer.to_out[0].bias)

    @classmethod
    def from_backbone(
        cls,
        backbone: nn.Module,
        interval: int = 14,
        heads: int = 16,
        head_dim: int = 128,
    ) -> HistoricalAttention:
        """A new one, which has no effect until it is trained.

        Raises:
            ValueError: an unsupported backbone, or an invalid interval.
        """
        return cls(
            **family_of(backbone).sizes(backbone).of(OF_REFERENCES),
            interval=interval,
            heads=heads,
            head_dim=head_dim,
        )

    def enable_gradient_checkpointing(self) -> None:
        """Nothing to do: its layers run inside the backbone's blocks, which are recomputed."""

    def tokens_ahead(self, references: ReferenceLatents) -> int:
        """0: references are attended to, but do not join the video's tokens."""
        return 0

    @contextmanager
    def woven(self, backbone: nn.Module, references: ReferenceLatents) -> Iterator[None]:
        """Context in which the backbone's blocks attend to the references.

        Args:
            backbone: its own blocks are restored on exit.
            references: one set per sample of the calls; samples without any are unchanged.
        """
        if not references.present.any():
            # Trained weights get a gradient in every call, possibly zero, as DDP expects.
            if not (torch.is_grad_enabled() and self.patch.weight.requires_grad):
                yield
                return
            references = _one_absent(references)
        tokens, seen = self._tokens(references)
        family = family_of(backbone)
        blocks = family.blocks(backbone)
        looking = {
            place: _CrossAttentionBlock(family, blocks[place], norm, layer, tokens, seen)
            for place, norm, layer in zip(self.places, self.norms, self.layers, strict=True)
        }
        with replace_blocks(backbone, looking):
            yield

    def _tokens(
        self, references: ReferenceLatents
    ) -> tuple[Float[Tensor, "B S D"], Bool[Tensor, "B S"]]:
        """Tokens of all references, and a mask of the present ones."""
        B = len(references.latents)
        tokens = self.patch(references.latents.flatten(0, 1).to(self.dtype))
        height, width = tokens.shape[-2:]
        places = get_2d_sincos_pos_embed(
            tokens.shape[1], (height, width), output_type="pt", device=tokens.device
        )
        tokens = rearrange(tokens, "(B R) D h w -> B R (h w) D", B=B) + places.to(tokens)
        seen = references.present.repeat_interleave(height * width, dim=1)
        return self.norm_references(tokens.flatten(1, 2)), seen


def _one_absent(references: ReferenceLatents) -> ReferenceLatents:
    """Pads to one absent reference if there are none: attention needs a non-empty sequence."""
    B, _, *shape = references.latents.shape
    return replace(
        references,
        latents=references.latents.new_zeros(B, 1, *shape),
        present=references.present.new_zeros(B, 1),
        reference2first=references.target2first[:, :1],
    )


class _CrossAttentionBlock(nn.Module):
    def __init__(
        self,
        family: Family,
        block: nn.Module,
        norm: nn.Module,
        layer: Attention,
        tokens: Tensor,
        seen: Tensor,
    ):
        super().__init__()
        self.family = family
        self.block, self.norm, self.layer = block, norm, layer
        self.tokens, self.seen = tokens, seen
        # The surrounding backbone may use another dtype.
        self.autocast = autocast_here(tokens.device)

    def forward(self, hidden_states: Tensor, *args, **kwargs) -> Any:
        answer = self.block(hidden_states, *args, **kwargs)
        hidden_states = self.family.tokens(answer)
        mask, some = None, self.seen.any(dim=1)
        if not self.seen.all():
            # Softmax over nothing is NaN, so rows without references attend to all, with unused
            # output.
            mask = torch.where(self.seen | ~some[:, None], 0.0, float("-inf"))[:, None]
            mask = mask.to(hidden_states)
        with self.autocast():
            looked = self.layer(
                self.norm(hidden_states), self.tokens.to(hidden_states), attention_mask=mask
            )
        looked = looked.to(hidden_states)
        return self.family.with_tokens(answer, hidden_states + looked * some[:, None, None])
