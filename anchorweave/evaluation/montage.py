"""Labelled videos side by side, and contact sheets of them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from anchorweave.eight_bit import to_bytes

# Small videos are upscaled by an integer factor until a tile is at least this high.
TILE_HEIGHT = 160
LABEL_HEIGHT = 22
GAP = 4


def side_by_side(videos: dict[str, Float[Tensor, "T 3 H W"]]) -> UInt8[Tensor, "T 3 h w"]:
    """One labelled tile per video, left to right.

    Args:
        videos: label -> video in [0, 1]; all with the same length and size.

    Returns:
        The montage [T, 3, h, w], 0..255, with even sides as video codecs require.
    """
    first = next(iter(videos.values()))
    factor = -(-TILE_HEIGHT // first.shape[-2])
    columns = []
    for label, video in videos.items():
        # Bytes from here on, because montages of many full-size videos are large.
        tile = to_bytes(video)
        tile = tile.repeat_interleave(factor, dim=-2).repeat_interleave(factor, dim=-1)
        strip = _label(label, tile.shape[-1]).expand(len(tile), 3, LABEL_HEIGHT, tile.shape[-1])
        column = torch.cat([strip, tile], dim=-2)
        columns.append(torch.nn.functional.pad(column, (0, GAP), value=255))
    montage = torch.cat(columns, dim=-1)
    odd_h, odd_w = montage.shape[-2] % 2, montage.shape[-1] % 2
    return torch.nn.functional.pad(montage, (0, odd_w, 0, odd_h), value=255)


def contact_sheet(
    montage: UInt8[Tensor, "T 3 h w"], rows: int = 6, names: tuple[str, ...] = ()
) -> Image.Image:
    """`rows` frames of a montage, evenly spread in time, one below the other.

    Args:
        montage: what `side_by_side` returns.
        rows: number of frames; fewer if the montage is shorter.
        names: T labels for the frames' left margin; empty = their numbers.
    """
    times = np.linspace(0, len(montage) - 1, min(rows, len(montage))).round().astype(int)
    margin = 70
    pictures = []
    for time in times:
        pixels = montage[time].permute(1, 2, 0).numpy()
        row = Image.new("RGB", (margin + pixels.shape[1], pixels.shape[0]), "white")
        row.paste(Image.fromarray(pixels), (margin, 0))
        text = names[time] if names else f"frame {time}"
        ImageDraw.Draw(row).text((4, row.height // 2), text, fill="black", font=_font())
        pictures.append(row)
    sheet = Image.new("RGB", (pictures[0].width, sum(p.height for p in pictures)), "white")
    top = 0
    for picture in pictures:
        sheet.paste(picture, (0, top))
        top += picture.height
    return sheet


@lru_cache
def _font() -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size=14)


def _label(text: str, width: int) -> UInt8[Tensor, "3 h w"]:
    strip = Image.new("RGB", (width, LABEL_HEIGHT), "white")
    ImageDraw.Draw(strip).text((2, 2), text, fill="black", font=_font())
    return torch.from_numpy(np.array(strip)).permute(2, 0, 1)
