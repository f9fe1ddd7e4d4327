"""Tiles that an autoencoder's frames are cut into, so that what is put together has their size.

diffusers cuts a side into tiles by the pixel and puts latents together by the latent, each rounded
down on its own: only where both come out even do latents and frames have the size that they should
have. Its defaults do so for CogVideoX at 480x720, and not for most others.
"""

from __future__ import annotations

import math

from diffusers import AutoencoderKLCogVideoX

# Where a tile is chosen for the user: a multiple of it divides for every compression up to 8.
TILE_STEP = 32
# Step of a square tile's side; and the smallest tile, whose neighbours share one latent.
OVERLAP, SMALLEST = 0.25, 4


def lay_out_tiles(vae: AutoencoderKLCogVideoX, tile: int | None = None) -> None:
    """Give an autoencoder tiles that divide, for when tiling is switched on.

    Args:
        vae: what it has is kept where it divides, as CogVideoX-5B's at 480x720 does; else its
            tiles are made longer by less than a latent, and the overlap is the nearest that does.
        tile: side of square tiles in pixels, with a quarter of overlap; None = the autoencoder's
            own, half of the size that it was made for.

    Raises:
        ValueError: a `tile` that is no multiple of 32, or that this autoencoder cannot use.
    """
    scale = spatial_compression(vae)
    if tile is not None and (tile < TILE_STEP or tile % TILE_STEP):
        raise ValueError(f"a tile is a multiple of {TILE_STEP} pixels a side, met {tile}")
    for axis in ("height", "width"):
        if tile is not None:
            side, share = tile, OVERLAP
        else:
            side = getattr(vae, f"tile_sample_min_{axis}")
            share = getattr(vae, f"tile_overlap_factor_{axis}")
        if not _divides(side, share, scale):
            if tile is not None:
                raise ValueError(
                    f"a tile of {tile} pixels a side does not divide into latents of {scale} "
                    f"pixels that overlap by a quarter; make it a multiple of {SMALLEST * scale}"
                )
            side, share = _nearest(side, share, scale)
        setattr(vae, f"tile_sample_min_{axis}", side)
        setattr(vae, f"tile_latent_min_{axis}", side // scale)
        setattr(vae, f"tile_overlap_factor_{axis}", share)


def check_tiles(vae: AutoencoderKLCogVideoX, size: tuple[int, int]) -> None:
    """Refuse tiles that would give latents or frames of another size than they should have.

    Args:
        vae: an autoencoder; one that does not tile passes.
        size: (height, width) of the frames; frames that fit into one tile pass.

    Raises:
        ValueError: tiles that do not divide, as `vae.enable_tiling` with numbers may set them.
    """
    sides = vae.tile_sample_min_height, vae.tile_sample_min_width
    if not vae.use_tiling or all(met <= tile for met, tile in zip(size, sides, strict=True)):
        return
    shares = vae.tile_overlap_factor_height, vae.tile_overlap_factor_width
    scale = spatial_compression(vae)
    if all(_divides(*one, scale) for one in zip(sides, shares, strict=True)):
        return
    better = [_nearest(*one, scale) for one in zip(sides, shares, strict=True)]
    (height, over), (width, across) = better
    raise ValueError(
        f"the autoencoder's tiles of {sides[0]}x{sides[1]} pixels (height x width) that overlap by "
        f"{shares[0]:.4g} and {shares[1]:.4g} do not divide into its latents of {scale} pixels, so "
        f"that frames of {size[0]}x{size[1]} would come out in another size; "
        f"vae.enable_tiling({height}, {width}, {over}, {across}) divides"
    )


def spatial_compression(vae: AutoencoderKLCogVideoX) -> int:
    """Pixels along one latent pixel."""
    return 2 ** (len(vae.config.block_out_channels) - 1)


def _divides(side: int, share: float, scale: int) -> bool:
    """Whether tiles of `side` pixels with this share of overlap come out even both ways.

    In the very words of diffusers' `tiled_encode` and `tiled_decode`, rounding included.
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
    for overlap in sorted(range(1, latents // 2 + 1), key=lambda one: abs(one - wanted)):
        # A hair more, where the quotient was rounded down.
        for even in (overlap / latents, math.nextafter(overlap / latents, 1)):
            if _divides(latents * scale, even, scale):
                return latents * scale, even
    # A half is exact in any float, but of an odd number of latents it is none.
    return _nearest(side + scale, share, scale)
