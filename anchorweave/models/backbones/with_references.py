"""Block arguments when reference tokens are prepended to the video's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from anchorweave.models.backbones.base import Family


def arguments_with_references(
    family: Family,
    block: nn.Module,
    tokens: Float[Tensor, "B L D"],
    args: tuple,
    kwargs: Mapping[str, Any],
    references: int,
    per_frame: int,
    present: Bool[Tensor, "B R"] | None,
) -> dict[str, Any]:
    """Arguments of a block other than its tokens, by name.

    References are clean, at times -R .. -1, and masked in samples that have fewer.

    Args:
        family: family of the block.
        block: the block.
        tokens: tokens of references and video.
        args: positional arguments of the block's call after the video's tokens.
        kwargs: its keyword arguments.
        references: R frames.
        per_frame: tokens per frame.
        present: which references exist; None = all.
    """
    arguments = dict(zip(family.block_arguments, args, strict=False)) | dict(kwargs)
    added = references * per_frame
    arguments |= family.timesteps_ahead(arguments, added)
    rotary = family.rotary_in(arguments)
    if rotary is not None:
        channels = family.time_channels(rotary[0].shape[1])
        longer = rotary_with_references(rotary, references, per_frame, channels)
        arguments |= family.rotary_arguments(longer)
    if present is not None:
        ahead = present.repeat_interleave(per_frame, dim=1)
        video = ahead.new_ones(len(ahead), tokens.shape[1] - added)
        mask = torch.cat([ahead, video], dim=1)
        arguments |= family.mask_arguments(block, arguments, tokens, mask)
    return arguments


def rotary_with_references(
    rotary: tuple[Float[Tensor, "L d"], Float[Tensor, "L d"]],
    references: int,
    per_frame: int,
    time_channels: int,
) -> tuple[Float[Tensor, "longer d"], Float[Tensor, "longer d"]]:
    """Prepends R frames, at times -R .. -1, to the video's rotary table.

    The paper gives references their own positions without specifying them; Spatia's released code
    puts its reference frames before the video, which keeps the video's positions as they were
    learned.

    Args:
        rotary: cosines and sines [t * per_frame, d] of the video, from time 0 on.
        references: R.
        per_frame: tokens per frame.
        time_channels: number of leading channels that encode time; the rest encode height and
            width.

    Returns:
        Cosines and sines [(R + t) * per_frame, d].
    """
    cos, sin = rotary
    turns = _time_angles(time_channels, references, cos.device)
    ahead = []
    for table, of_time in ((cos, turns.cos()), (sin, turns.sin())):
        frame = table[:per_frame].expand(references, -1, -1).clone()
        frame[..., :time_channels] = of_time[:, None].to(frame)
        ahead.append(torch.cat([frame.flatten(0, 1), table]))
    return ahead[0], ahead[1]


def _time_angles(channels: int, references: int, device: torch.device) -> Float[Tensor, "R c"]:
    """Angles of the times -R .. -1, two channels each (diffusers' rotary tables interleave)."""
    steps = torch.arange(0, channels, 2, device=device, dtype=torch.float32) / channels
    times = torch.arange(-references, 0, device=device, dtype=torch.float32)
    angles = times[:, None] * 10_000.0**-steps
    return angles.repeat_interleave(2, dim=1)
