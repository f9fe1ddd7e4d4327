"""The backbone, its sizes and its two insertions: diffusers' transformer itself is not changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel
from jaxtyping import Float
from torch import Tensor, nn


@contextmanager
def insertions(
    backbone: CogVideoXTransformer3DModel,
    before: Sequence[Float[Tensor, "B _ D"]] = (),
    after: Sequence[Float[Tensor, "B _ D"]] = (),
    ahead: int = 0,
) -> Iterator[None]:
    """Inside, features are added to the image tokens of the backbone's first blocks.

    Args:
        backbone: a CogVideoX transformer; on leaving, its blocks are the ones it came with.
        before: for block i the features added ahead of it, [B, L, D] for each token or [B, t, D]
            for all tokens of a latent frame alike.
        after: likewise, added behind block i.
        ahead: tokens ahead of the video's, of references, to which nothing is added.

    Raises:
        ValueError: more features than blocks, or features that do not fit the tokens.

    Source: paper section 3.4; the released backbone adds camera features before and control
    features after its blocks.
    """
    blocks = backbone.transformer_blocks
    count = max(len(before), len(after))
    if count > len(blocks):
        raise ValueError(
            f"{count} layers of features cannot be woven into {len(blocks)} backbone blocks; "
            "use a controller with at most as many layers"
        )
    woven = {
        i: _WovenBlock(
            blocks[i],
            before[i] if i < len(before) else None,
            after[i] if i < len(after) else None,
            ahead,
        )
        for i in range(count)
    }
    with stand_ins(backbone, woven):
        yield


@contextmanager
def stand_ins(
    backbone: CogVideoXTransformer3DModel, modules: Mapping[int, nn.Module]
) -> Iterator[None]:
    """Inside, other modules are called in the place of some of the backbone's blocks.

    Modules rather than hooks on the blocks: gradient checkpointing calls what it was given once
    more in the backward pass, when hooks would be gone. So what a module gives may depend on its
    input alone.

    Args:
        backbone: a CogVideoX transformer; on leaving, its blocks are the ones it came with.
        modules: by the number of the block, in whose form they are called.
    """
    blocks = backbone.transformer_blocks
    originals = {i: blocks[i] for i in modules}
    try:
        for i, module in modules.items():
            blocks[i] = module
        yield
    finally:
        for i, block in originals.items():
            blocks[i] = block


def backbone_sizes(backbone: CogVideoXTransformer3DModel) -> dict[str, int | float | bool]:
    """The arguments of `WeavingController` that its backbone decides.

    Raises:
        ValueError: a CogVideoX 1.5 backbone.
    """
    config = backbone.config
    if config.patch_size_t is not None:
        raise ValueError(
            f"this backbone joins {config.patch_size_t} latent frames in one token (patch_size_t, "
            "CogVideoX 1.5), which the controller cannot; use a CogVideoX 1.0 image-to-video model"
        )
    return {
        "backbone_dim": config.num_attention_heads * config.attention_head_dim,
        "latent_channels": config.out_channels,
        "text_dim": config.text_embed_dim,
        "patch_size": config.patch_size,
        "temporal_compression": config.temporal_compression_ratio,
        "spatial_interpolation_scale": config.spatial_interpolation_scale,
        "temporal_interpolation_scale": config.temporal_interpolation_scale,
        "rotary": config.use_rotary_positional_embeddings,
        # One rotary table serves both, so their heads are of one width.
        "head_dim": config.attention_head_dim,
        "time_embed_dim": config.time_embed_dim,
    }


def check_backbone(transformer: CogVideoXTransformer3DModel, vae: AutoencoderKLCogVideoX) -> None:
    """Refuse a backbone that cannot be woven into, or that takes no image.

    Raises:
        ValueError: a backbone of CogVideoX 1.5, or one that is not made for images to video.
    """
    config = transformer.config
    if config.patch_size_t is not None:
        raise ValueError(
            f"the backbone has patch_size_t={config.patch_size_t}, as CogVideoX 1.5 does; "
            "weaving needs CogVideoX 1.0, CogVideoX-5b-I2V for example"
        )
    if config.in_channels != 2 * vae.config.latent_channels:
        raise ValueError(
            f"the backbone takes {config.in_channels} channels, but noisy latents and the image's "
            f"have {2 * vae.config.latent_channels}; use an image-to-video backbone"
        )


class _WovenBlock(nn.Module):
    def __init__(self, block: nn.Module, before: Tensor | None, after: Tensor | None, ahead: int):
        super().__init__()
        self.block = block
        self.before = before
        self.after = after
        self.ahead = ahead

    def forward(self, hidden_states: Tensor, *args, **kwargs) -> tuple[Tensor, Tensor]:
        if self.before is not None:
            hidden_states = _add(hidden_states, self.before, self.ahead)
        hidden_states, text = self.block(hidden_states, *args, **kwargs)
        if self.after is not None:
            hidden_states = _add(hidden_states, self.after, self.ahead)
        return hidden_states, text


def _add(tokens: Tensor, features: Tensor, ahead: int) -> Tensor:
    if ahead:
        return torch.cat([tokens[:, :ahead], _add(tokens[:, ahead:], features, 0)], dim=1)
    (B, L, D), (b, groups, d) = tokens.shape, features.shape
    if (b, d) != (B, D) or L % groups:
        raise ValueError(
            f"features of shape {tuple(features.shape)} do not fit image tokens of shape "
            f"{(B, L, D)}; batch and width must agree and the groups divide the tokens"
        )
    # [B, L, D] seen as [B, t, h*w, D], so that a frame's feature is never written out per token
    grouped = tokens.unflatten(1, (groups, L // groups))
    return (grouped + features.to(tokens)[:, :, None]).flatten(1, 2)
