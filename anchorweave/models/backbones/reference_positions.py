"""References in a block: their rotations, and the mask of those that are not there."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def rotary_with_references(
    rotary: tuple[Float[Tensor, "L d"], Float[Tensor, "L d"]],
    references: int,
    per_frame: int,
    time_channels: int,
) -> tuple[Float[Tensor, "longer d"], Float[Tensor, "longer d"]]:
    """The video's rotary table with R frames ahead of it, at times -R .. -1.

    The paper gives references positions of their own without saying which; before the video is
    where Spatia's released code puts its reference frames, and the video's positions stay as they
    were learned.

    Args:
        rotary: cosines and sines [t * per_frame, d] of the video, from time 0 on.
        references: R.
        per_frame: tokens of one frame.
        time_channels: how many of the d turn with time, the first ones; the rest turn with height
            and width.

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
    """Angles of the times -R .. -1, two channels each (as diffusers' rotary tables interleave)."""
    steps = torch.arange(0, channels, 2, device=device, dtype=torch.float32) / channels
    times = torch.arange(-references, 0, device=device, dtype=torch.float32)
    angles = times[:, None] * 10_000.0**-steps
    return angles.repeat_interleave(2, dim=1)


def absence_mask(
    tokens: Float[Tensor, "B L D"], text: int, present: Bool[Tensor, "B R"], per_frame: int
) -> Float[Tensor, "B 1 S_plus_L"]:
    """What is added to attention: minus infinity for the tokens of references not there.

    Args:
        tokens: of references and video [B, L, D], for shape, type and place.
        text: text tokens S ahead of them.
        present: which references are there.
        per_frame: tokens of one frame.
    """
    B, L = tokens.shape[:2]
    mask = tokens.new_zeros(B, 1, text + L)
    absent = ~present.repeat_interleave(per_frame, dim=1)
    there = slice(text, text + absent.shape[1])
    mask[:, 0, there] = mask[:, 0, there].masked_fill(absent, float("-inf"))
    return mask
