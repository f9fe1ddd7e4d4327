"""What encoding an anchor and decoding the video take, whole and in tiles."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from anchorweave.models.backbones import codec_of
from inference.estimates.networks import Networks
from inference.estimates.stages import Taken, Video, taken


@dataclass(frozen=True)
class _Tiles:
    """Lengths of all tiles along height and width, in pixels."""

    heights: list[int]
    widths: list[int]

    @property
    def largest(self) -> tuple[int, int]:
        return max(self.heights), max(self.widths)

    @property
    def share(self) -> float:
        """Pixels of all tiles over those of the largest."""
        return sum(self.heights) * sum(self.widths) / prod(self.largest)


def encoding(networks: Networks, video: Video, tiled: bool) -> Taken:
    """One anchor to latents; the autoencoder takes one at a time.

    Args:
        networks: all.
        video: what is sampled.
        tiled: whether in tiles, as `model.tile_vae`.
    """
    vae, word = networks.parts["vae"], networks.dtype.itemsize
    # Wan folds patches of pixels into channels first, and cuts tiles of as many folded pixels.
    folded = getattr(vae.config, "patch_size", None) or 1
    codec, tiles = codec_of(vae), _tiles(networks, video, tiled, folded)
    frame = word * 3 * video.frames
    whole = frame * prod(video.size)
    height, width = tiles.largest
    if folded > 1:
        # The copy of the whole video, of which the tile's is a part.
        whole += frame * (prod(video.size) - height * width)
    signed = _like(networks, 1, 3, video.frames, height, width)
    one = taken(lambda: vae.encode(signed).latent_dist.mode(), [vae])
    t, h, w = video.latents
    # Mean and spread; each tile's stay until all are there.
    latents = round((tiles.share - 1) * word * 2 * codec.channels * t * h * w / _area(video, tiles))
    return Taken(one.held + whole + latents, round(one.operations * tiles.share))


def decoding(networks: Networks, video: Video, tiled: bool) -> Taken:
    """Latents to the video; arguments as of `encoding`."""
    vae, word = networks.parts["vae"], networks.dtype.itemsize
    codec, tiles = codec_of(vae), _tiles(networks, video, tiled)
    height, width = tiles.largest
    latents = _like(
        networks,
        *(1, video.latents[0], codec.channels),
        *(height // codec.in_space, width // codec.in_space),
    )
    one = taken(lambda: codec.decode(latents), [vae])
    frame = word * 3 * video.frames
    # All tiles stay until the last one is there; then they are blended into a second copy.
    all_tiles = round(frame * height * width * tiles.share)
    before_last = one.held + all_tiles - frame * height * width
    blending = all_tiles + 2 * frame * prod(video.size) if tiles.share > 1 else 0
    return Taken(max(before_last, blending), round(one.operations * tiles.share))


def _area(video: Video, tiles: _Tiles) -> float:
    """Pixels of a frame over those of the largest tile."""
    return prod(video.size) / prod(tiles.largest)


def _tiles(networks: Networks, video: Video, tiled: bool, folded: int = 1) -> _Tiles:
    """The tiles, whose stated sides count `folded` pixels each."""
    codec = codec_of(networks.parts["vae"])
    if not tiled:
        return _Tiles([video.size[0]], [video.size[1]])
    codec.lay_out_tiles()
    vae: Any = codec.vae
    sides = (folded * vae.tile_sample_min_height, folded * vae.tile_sample_min_width)
    if all(length <= side for length, side in zip(video.size, sides, strict=True)):
        return _Tiles([video.size[0]], [video.size[1]])
    lengths = []
    for axis, length, side in zip(("height", "width"), video.size, sides, strict=True):
        step = folded * _step(codec.vae, axis, side // folded, codec.in_space)
        lengths.append([min(side, length - start) for start in range(0, length, step)])
    return _Tiles(*lengths)


def _step(vae: nn.Module, axis: str, side: int, scale: int) -> int:
    """Pixels from one tile to the next, in the words of diffusers' two kinds of autoencoder."""
    if (stride := getattr(vae, f"tile_sample_stride_{axis}", None)) is not None:
        return stride
    return int(side // scale * (1 - getattr(vae, f"tile_overlap_factor_{axis}"))) * scale


def _like(networks: Networks, *shape: int) -> Tensor:
    return torch.empty(*shape, dtype=networks.dtype, device="meta")
