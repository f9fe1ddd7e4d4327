"""Nearest seen pixel in plain torch, on any device: exact; slower for larger holes."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def fill(
    video: Float[Tensor, "T 3 H W"], visible: Bool[Tensor, "T H W"], reach: int
) -> Float[Tensor, "T 3 H W"]:
    """The video with each unseen pixel filled from the nearest seen one of the same frame.

    Args:
        video: colours.
        visible: True where a pixel was seen.
        reach: in pixels; pixels farther than this from every seen pixel stay unchanged.
    """
    H, W = visible.shape[-2:]
    row, column, squared = _nearest(visible)
    near = (squared <= reach * reach) & visible.any(2).any(1)[:, None, None]
    own = torch.arange(H * W, device=video.device).view(H, W)
    source = torch.where(near, row * W + column, own).flatten(1)
    return video.flatten(2).gather(2, source[:, None].expand(-1, 3, -1)).view(video.shape)


def _nearest(visible: Bool[Tensor, "T H W"]) -> tuple[Tensor, Tensor, Tensor]:
    """Row and column [T, H, W] of the nearest seen pixel, and the squared distance to it."""
    T, H, W = visible.shape
    far = H + W  # larger than any distance, even squared
    rows = torch.arange(H, device=visible.device)[:, None].expand(T, H, W)
    # First the nearest one in the same column: the last seen row above, or the first one below.
    above = torch.where(visible, rows, -far).cummax(1).values
    below = torch.where(visible, rows, far + H).flip(1).cummin(1).values.flip(1)
    row_of = torch.where(rows - above <= below - rows, above, below)
    in_column = (row_of - rows) ** 2

    # Then columns to both sides, as long as one of them might hold a nearer pixel.
    columns = torch.arange(W, device=visible.device).expand(T, H, W)
    row, column, squared = row_of.clone(), columns.clone(), in_column.clone()
    seen_at_all = visible.flatten(1).any(1)
    for step in range(1, W):
        if not seen_at_all.any() or step * step >= squared[seen_at_all].max():
            break
        for here, there in ((slice(step, W), slice(0, -step)), (slice(0, -step), slice(step, W))):
            offered = in_column[..., there] + step * step
            nearer = offered < squared[..., here]
            squared[..., here] = torch.where(nearer, offered, squared[..., here])
            row[..., here] = torch.where(nearer, row_of[..., there], row[..., here])
            column[..., here] = torch.where(nearer, columns[..., there], column[..., here])
    return row, column, squared
