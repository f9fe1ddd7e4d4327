"""The nearest seen pixel in plain torch, on any device: exact, and slower the larger the holes."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def fill(
    video: Float[Tensor, "T 3 H W"], visible: Bool[Tensor, "T H W"], reach: int
) -> Float[Tensor, "T 3 H W"]:
    """The video with each unseen pixel filled from the nearest seen one of its frame.

    Args:
        video: colours.
        visible: True where a pixel was seen.
        reach: in pixels; what is farther from every seen pixel stays as it is.
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
    far = H + W  # beyond every distance, also when squared
    rows = torch.arange(H, device=visible.device)[:, None].expand(T, H, W)
    # First the nearest one in the same column: the last seen row above, or the first one below.
    above = torch.where(visible, rows, -far).cummax(1).values
    below = torch.where(visible, rows, far + H).flip(1).cummin(1).values.flip(1)
    row_of = torch.where(rows - above <= below - rows, above, below)
    in_column = (row_of - rows) ** 2

    # Then the columns to both sides, for as long as one might hold a nearer pixel.
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
