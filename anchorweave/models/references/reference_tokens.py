"""References as additional frames of the token sequence.

The method of Context-as-Memory (section 4) and of Spatia's reference frames (section 3.1): clean
latents of reference frames, each encoded alone, are concatenated with the video's along frames and
take part in self-attention in every block; only the video's own tokens are predicted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from einops import rearrange
from jaxtyping import Bool
from torch import Tensor, nn

from anchorweave.anchors import ReferenceLatents
from anchorweave.models.backbones import Family, family_of
from anchorweave.models.backbones.sizes import OF_REFERENCES
from anchorweave.models.backbones.with_references import arguments_with_references
from anchorweave.models.insertions import replace_blocks


class ReferenceTokens(ModelMixin, ConfigMixin):
    """Turns references into tokens, and adds camera features to their tokens in every block.

    A frozen backbone was never trained on longer sequences: train it together with this network,
    fully as Context-as-Memory does, or with a LoRA as Spatia does.

    Args:
        backbone_dim: width of the backbone.
        latent_channels: channels of the VAE's latents.
        patch_size: of the backbone, in latent pixels.
        num_layers: number of backbone blocks.
        temporal_compression: video frames per latent frame.
        cameras: whether each block gets the cameras of references and target, through a linear
            layer of the pose (Context-as-Memory; Spatia: no).

    Source: Context-as-Memory, section 4; Spatia, section 3.1. With CogVideoX, references share the
    video's timestep, because its blocks take one for all tokens. Context-as-Memory does not specify
    theirs; Spatia sets it to 0, as done here with Wan.
    """

    @register_to_config
    def __init__(
        self,
        backbone_dim: int,
        latent_channels: int,
        patch_size: int,
        num_layers: int,
        temporal_compression: int = 4,
        cameras: bool = True,
    ):
        super().__init__()
        self.patch = nn.Conv2d(latent_channels, backbone_dim, patch_size, stride=patch_size)
        self.pose = nn.ModuleList(nn.Linear(12, backbone_dim) for _ in range(num_layers * cameras))
        for layer in self.pose:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    @classmethod
    def from_backbone(cls, backbone: nn.Module, cameras: bool = True) -> ReferenceTokens:
        """A new one that embeds references like the backbone embeds noisy latents.

        Raises:
            ValueError: an unsupported backbone.
        """
        family = family_of(backbone)
        sizes = family.sizes(backbone)
        new = cls(
            **sizes.of(OF_REFERENCES),
            temporal_compression=sizes.temporal_compression,
            cameras=cameras,
        )
        weight, bias = family.patch(backbone)
        new.patch.weight.data.copy_(weight)
        new.patch.bias.data.copy_(bias)
        return new

    def enable_gradient_checkpointing(self) -> None:
        """Nothing to do: its tokens pass through the backbone's blocks, which are recomputed."""

    def tokens_ahead(self, references: ReferenceLatents) -> int:
        """Number of tokens prepended to the video's."""
        R, _, h, w = references.latents.shape[1:]
        return R * (h // self.config.patch_size) * (w // self.config.patch_size)

    @contextmanager
    def woven(self, backbone: nn.Module, references: ReferenceLatents) -> Iterator[None]:
        """Context in which the references' tokens are prepended to the video's in every block.

        Args:
            backbone: its own blocks are restored on exit.
            references: one set per sample of the calls.
        """
        B, R, _, h, w = references.latents.shape
        # Cameras are added even without references, consistent with samples of a batch that have
        # none; and trained weights get a gradient in every call, possibly zero, as DDP expects.
        learns = torch.is_grad_enabled() and self.patch.weight.requires_grad
        if R == 0 and not (self.pose or learns):
            yield
            return
        tokens = self.patch(references.latents.flatten(0, 1).to(self.dtype))
        tokens = rearrange(tokens, "(B R) D h w -> B R (h w) D", B=B)
        family = family_of(backbone)
        positions = family.first_frame_positions(backbone, h, w)
        if positions is not None:
            tokens = tokens + positions.to(tokens)
        poses = self._poses(references)
        present = None if bool(references.present.all()) else references.present
        blocks = family.blocks(backbone)
        joined = {
            i: _JoinedBlock(
                family,
                block,
                references=R,
                per_frame=tokens.shape[2],
                present=present,
                join=tokens.flatten(1, 2) if i == 0 else None,
                pose=poses[i] if poses else None,
                split=i == len(blocks) - 1,
            )
            for i, block in enumerate(blocks)
        }
        with replace_blocks(backbone, joined):
            yield

    def _poses(self, references: ReferenceLatents) -> list[Tensor]:
        """Camera features [B, R + t, D] of all frames for each block."""
        target = references.target2first[:, :: self.config.temporal_compression]
        matrices = torch.cat([references.reference2first, target], dim=1)[:, :, :3]
        flat = rearrange(matrices, "B f i j -> B f (i j)").to(self.dtype)
        return [layer(flat) for layer in self.pose]


class _JoinedBlock(nn.Module):
    def __init__(
        self,
        family: Family,
        block: nn.Module,
        references: int,
        per_frame: int,
        present: Bool[Tensor, "B R"] | None,
        join: Tensor | None,
        pose: Tensor | None,
        split: bool,
    ):
        super().__init__()
        self.family = family
        self.block = block
        self.references, self.per_frame, self.present = references, per_frame, present
        self.join, self.pose, self.split = join, pose, split

    def forward(self, hidden_states: Tensor, *args, **kwargs) -> Any:
        if self.join is not None:
            hidden_states = torch.cat([self.join.to(hidden_states), hidden_states], dim=1)
        if self.pose is not None:
            by_frame = hidden_states.unflatten(1, (-1, self.per_frame))
            hidden_states = (by_frame + self.pose.to(hidden_states)[:, :, None]).flatten(1, 2)
        arguments = arguments_with_references(
            self.family,
            self.block,
            hidden_states,
            args,
            kwargs,
            self.references,
            self.per_frame,
            self.present,
        )
        answer = self.block(hidden_states, **arguments)
        if self.split:
            tokens = self.family.tokens(answer)[:, self.references * self.per_frame :]
            answer = self.family.with_tokens(answer, tokens)
        return answer
