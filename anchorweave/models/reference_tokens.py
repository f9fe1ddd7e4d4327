"""References as frames of the sequence: what was seen stands beside what is being generated.

The way of Context-as-Memory (section 4) and of Spatia's reference frames (section 3.1): clean
latents of remembered frames, each encoded alone, join the video's tokens along frames and attend
with them as equals in every block of the backbone; only the video's own tokens are predicted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from diffusers import CogVideoXTransformer3DModel, ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from anchorweave.anchors import ReferenceLatents
from anchorweave.models.backbone import backbone_sizes, stand_ins

Rotary = tuple[Tensor, Tensor]


class ReferenceTokens(ModelMixin, ConfigMixin):
    """Turns references into tokens, and tells every block where each frame was seen from.

    A backbone whose weights are frozen was never shown a longer sequence: train it with this, whole
    as Context-as-Memory does, or by a low-rank adapter as Spatia does.

    Args:
        backbone_dim: width of the backbone.
        latent_channels: of the VAE.
        patch_size: of the backbone, in latent pixels.
        num_layers: blocks of the backbone.
        temporal_compression: video frames in one latent frame.
        cameras: whether each block is told the cameras of references and target by one linear layer
            of the pose (Context-as-Memory; Spatia: no).

    Source: Context-as-Memory, section 4; Spatia, section 3.1. That references share the video's
    timestep is not said by the former and not so in the latter, which gives them 0; CogVideoX's
    blocks take one for all tokens.
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
    def from_backbone(
        cls, backbone: CogVideoXTransformer3DModel, cameras: bool = True
    ) -> ReferenceTokens:
        """A new one that reads references as the backbone reads noisy latents.

        Raises:
            ValueError: a CogVideoX 1.5 backbone.
        """
        sizes = backbone_sizes(backbone)
        new = cls(
            backbone_dim=sizes["backbone_dim"],
            latent_channels=sizes["latent_channels"],
            patch_size=sizes["patch_size"],
            num_layers=backbone.config.num_layers,
            temporal_compression=sizes["temporal_compression"],
            cameras=cameras,
        )
        own = backbone.patch_embed.proj
        # Its other channels read the first frame's latents, which only the video has.
        new.patch.weight.data.copy_(own.weight[:, : sizes["latent_channels"]])
        new.patch.bias.data.copy_(own.bias)
        return new

    def enable_gradient_checkpointing(self) -> None:
        """Nothing to recompute: its tokens pass through the backbone's blocks, which are."""

    def tokens_ahead(self, references: ReferenceLatents) -> int:
        """How many tokens stand ahead of the video's while these are woven in."""
        R, _, h, w = references.latents.shape[1:]
        return R * (h // self.config.patch_size) * (w // self.config.patch_size)

    @contextmanager
    def woven(
        self, backbone: CogVideoXTransformer3DModel, references: ReferenceLatents
    ) -> Iterator[None]:
        """Inside, every block of the backbone sees the references ahead of the video's tokens.

        Args:
            backbone: on leaving, its blocks are the ones it came with.
            references: one set for each sample of the calls.
        """
        B, R, _, h, w = references.latents.shape
        # The cameras are told without references too, as to a row of a batch that has none; and
        # what is trained gets a gradient in every call, be it of zeros, as DDP expects.
        learns = torch.is_grad_enabled() and self.patch.weight.requires_grad
        if R == 0 and not (self.pose or learns):
            yield
            return
        tokens = self.patch(references.latents.flatten(0, 1).to(self.dtype))
        tokens = rearrange(tokens, "(B R) D h w -> B R (h w) D", B=B)
        positions = _first_frame_positions(backbone, h, w)
        if positions is not None:
            tokens = tokens + positions.to(tokens)
        poses = self._poses(references)
        present = None if bool(references.present.all()) else references.present
        last = len(backbone.transformer_blocks) - 1
        joined = {
            i: _JoinedBlock(
                block,
                references=R,
                per_frame=tokens.shape[2],
                present=present,
                join=tokens.flatten(1, 2) if i == 0 else None,
                pose=poses[i] if poses else None,
                split=i == last,
            )
            for i, block in enumerate(backbone.transformer_blocks)
        }
        with stand_ins(backbone, joined):
            yield

    def _poses(self, references: ReferenceLatents) -> list[Tensor]:
        """For each block the features [B, R + t, D] of all frames' cameras."""
        target = references.target2first[:, :: self.config.temporal_compression]
        matrices = torch.cat([references.reference2first, target], dim=1)[:, :, :3]
        flat = rearrange(matrices, "B f i j -> B f (i j)").to(self.dtype)
        return [layer(flat) for layer in self.pose]


class _JoinedBlock(nn.Module):
    def __init__(
        self,
        block: nn.Module,
        references: int,
        per_frame: int,
        present: Bool[Tensor, "B R"] | None,
        join: Tensor | None,
        pose: Tensor | None,
        split: bool,
    ):
        super().__init__()
        self.block = block
        self.references, self.per_frame, self.present = references, per_frame, present
        self.join, self.pose, self.split = join, pose, split

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        temb: Tensor,
        image_rotary_emb: Rotary | None = None,
        attention_kwargs: dict | None = None,
    ) -> tuple[Tensor, Tensor]:
        if self.join is not None:
            hidden_states = torch.cat([self.join.to(hidden_states), hidden_states], dim=1)
        if self.pose is not None:
            by_frame = hidden_states.unflatten(1, (-1, self.per_frame))
            hidden_states = (by_frame + self.pose.to(hidden_states)[:, :, None]).flatten(1, 2)
        if image_rotary_emb is not None:
            image_rotary_emb = rotary_with_references(
                image_rotary_emb, self.references, self.per_frame
            )
        if self.present is not None:
            mask = self._mask(hidden_states, encoder_hidden_states.shape[1])
            attention_kwargs = {**(attention_kwargs or {}), "attention_mask": mask}
        hidden_states, text = self.block(
            hidden_states, encoder_hidden_states, temb, image_rotary_emb, attention_kwargs
        )
        if self.split:
            hidden_states = hidden_states[:, self.references * self.per_frame :]
        return hidden_states, text

    def _mask(self, hidden: Tensor, text: int) -> Float[Tensor, "B 1 S"]:
        """What is added to attention: minus infinity for the tokens of references not there."""
        B, tokens = hidden.shape[:2]
        mask = hidden.new_zeros(B, 1, text + tokens)
        absent = ~self.present.repeat_interleave(self.per_frame, dim=1)
        there = slice(text, text + absent.shape[1])
        mask[:, 0, there] = mask[:, 0, there].masked_fill(absent, float("-inf"))
        return mask


def rotary_with_references(
    rotary: tuple[Float[Tensor, "L d"], Float[Tensor, "L d"]], references: int, per_frame: int
) -> tuple[Float[Tensor, "longer d"], Float[Tensor, "longer d"]]:
    """The video's rotary table with R frames ahead of it, at times -R .. -1.

    The paper gives references positions of their own without saying which; before the video is
    where Spatia's released code puts its reference frames, and the video's positions stay as they
    were learned.

    Args:
        rotary: cosines and sines [t * per_frame, d] of the video, from time 0 on.
        references: R.
        per_frame: tokens of one frame.

    Returns:
        Cosines and sines [(R + t) * per_frame, d].
    """
    cos, sin = rotary
    # A quarter of a head's channels turns with time, the rest with height and width.
    time = cos.shape[1] // 4
    turns = _time_angles(time, references, cos.device)
    ahead = []
    for table, of_time in ((cos, turns.cos()), (sin, turns.sin())):
        frame = table[:per_frame].expand(references, -1, -1).clone()
        frame[..., :time] = of_time[:, None].to(frame)
        ahead.append(torch.cat([frame.flatten(0, 1), table]))
    return ahead[0], ahead[1]


def _time_angles(channels: int, references: int, device: torch.device) -> Float[Tensor, "R c"]:
    """Angles of the times -R .. -1, two channels each (as diffusers' rotary tables interleave)."""
    steps = torch.arange(0, channels, 2, device=device, dtype=torch.float32) / channels
    times = torch.arange(-references, 0, device=device, dtype=torch.float32)
    angles = times[:, None] * 10_000.0**-steps
    return angles.repeat_interleave(2, dim=1)


def _first_frame_positions(
    backbone: CogVideoXTransformer3DModel, height: int, width: int
) -> Float[Tensor, "L D"] | None:
    """What the backbone adds to the tokens of its first frame; None where positions are rotary."""
    embed = backbone.patch_embed
    if not (embed.use_positional_embeddings or embed.use_learned_positional_embeddings):
        return None
    table = embed.pos_embedding
    if (height, width) != (embed.sample_height, embed.sample_width):
        table = embed._get_positional_embeddings(height, width, 1)
    tokens = height * width // embed.patch_size**2
    return table[0, embed.max_text_seq_length :][:tokens]
