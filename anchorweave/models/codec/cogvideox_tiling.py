"""Autoencoder tile sizes that preserve the size of frames and latents.

diffusers lays out tiles in pixels and reassembles latents in latent units, each rounded down
separately: sizes are right only if both divide evenly. Its defaults do so for CogVideoX at 480x720,
but not for most other sizes.
"""

from __future__ import annotations

import math

from diffusers import AutoencoderKLCogVideoX

# Automatic tile sizes are multiples of this, which divide for every compression up to 8.
TILE_STEP = 32
# Step of a square tile's side; and the smallest tile, which overlaps its neighbours by one latent.
OVERLAP, SMALLEST = 0.25, 4


def lay_out_tiles(vae: AutoencoderKLCogVideoX, tile: int | None = None) -> None:
    """Sets tile sizes of an autoencoder that divide evenly, for when tiling is enabled.

    Args:
        vae: its tiles are kept if they divide, as CogVideoX-5B's at 480x720 do; otherwise they are
            enlarged by less than a latent, with the nearest overlap that divides.
        tile: side of square tiles in pixels, with a quarter of overlap; None = the autoencoder's
            own, half of the size it was trained on.

    Raises:
        ValueError: a `tile` that is not a multiple of 32, or that this autoencoder does not
            support.
    """
    scale = spatial_compression(vae)
    if tile is not None and (tile < TILE_STEP or tile % TILE_STEP):
        raise ValueError(f"a tile side must be a multiple of {TILE_STEP} pixels, got {tile}")
    for axis in ("height", "width"):
        if tile is not None:
            side, share = tile, OVERLAP
        else:
            side = getattr(vae, f"tile_sample_min_{axis}")
            share = getattr(vae, f"tile_overlap_factor_{axis}")
        if not _divides(side, share, scale):
            if tile is not None:
                raise ValueError(
                    f"a tile side of {tile} pixels does not divide into latents of {scale} "
                    f"pixels that overlap by a quarter; make it a multiple of {SMALLEST * scale}"
                )
            side, share = _nearest(side, share, scale)
        setattr(vae, f"tile_sample_min_{axis}", side)
        setattr(vae, f"tile_latent_min_{axis}", side // scale)
        setattr(vae, f"tile_overlap_factor_{axis}", share)


def check_tiles(vae: AutoencoderKLCogVideoX, size: tuple[int, int]) -> None:
    """Refuses tiles that would change the size of latents or frames.

    Args:
        vae: an autoencoder; always accepted if it does not tile.
        size: (height, width) of the frames; always accepted if they fit in one tile.

    Raises:
        ValueError: tiles that do not divide, as can be set by `vae.enable_tiling` with numbers.
    """
    sides = vae.tile_sample_min_height, vae.tile_sample_min_width
    if not vae.use_tiling or all(side <= tile for side, tile in zip(size, sides, strict=True)):
        return
    shares = vae.tile_overlap_factor_height, vae.tile_overlap_factor_width
    scale = spatial_compression(vae)
    if all(_divides(*pair, scale) for pair in zip(sides, shares, strict=True)):
        return
    better = [_nearest(*pair, scale) for pair in zip(sides, shares, strict=True)]
    (height, over), (width, across) = better
    raise ValueError(
        f"the autoencoder's tiles of {sides[0]}x{sides[1]} pixels (height x width) with overlaps "
        f"of {shares[0]:.4g} and {shares[1]:.4g} do not divide into its latents of {scale} pixels, "
        f"so that frames of {size[0]}x{size[1]} would change their size; "
        f"vae.enable_tiling({height}, {width}, {over}, {across}) divides"
    )


def spatial_compression(vae: AutoencoderKLCogVideoX) -> int:
    """Pixels per latent pixel along each side."""
    return 2 ** (len(vae.config.block_out_channels) - 1)


def _divides(side: int, share: float, scale: int) -> bool:
    """Whether tiles of `side` pixels with this overlap fraction divide evenly both ways.

    Same arithmetic as diffusers' `tiled_encode` and `tiled_decode`, including rounding.
    """
    latents = int(side / scale)
    if latents * scale != side:
        return False
    step, latent_step = int(side * (1 - share)), int(latents * (1 - share))
    blended, latents_blended = int(side * share), int(latents * share)
    encodes = 0 < step == scale * (latents - latents_blended)
    decodes = 0 < scale * latent_step == side - blended
    return encodes and decodes


def _nearest(side: int, share: float, scale: int) -> tuple[int, float]:
    """The tile and overlap nearest to the wanted ones that divide evenly."""
    latents = max(math.ceil(side / scale), SMALLEST)
    wanted = max(min(share, 0.5) * latents, 1)
    for overlap in sorted(range(1, latents // 2 + 1), key=lambda count: abs(count - wanted)):
        # Slightly more, in case the quotient was rounded down.
        for even in (overlap / latents, math.nextafter(overlap / latents, 1)):
            if _divides(latents * scale, even, scale):
                return latents * scale, even
    # One half is exact in floating point, but needs an even number of latents.
    return _nearest(side + scale, share, scale)
