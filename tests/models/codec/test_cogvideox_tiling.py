"""Tiled autoencoders: what comes out has the size and the meaning of what is made whole."""

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLCogVideoX

from anchorweave.models.backbones import codec_of
from anchorweave.models.codec.cogvideox_tiling import check_tiles, lay_out_tiles
from anchorweave.models.encoders import Encoders
from anchorweave.models.small.vae import VAEConfig, small_vae

EMBEDDED = Path(__file__).parents[3] / "pretrained" / "anchorweave-tiny"
# Levels of the autoencoder, and so 4 or 8 pixels to a latent one.
LEVELS = {4: (8, 8, 8), 8: (8, 8, 8, 8)}


def autoencoder(size, scale=8):
    config = VAEConfig(channels=LEVELS[scale], latent_channels=4, norm_groups=4)
    return small_vae(config, size, seed=1).eval()


def similarity(a, b):
    return torch.cosine_similarity(a.flatten(), b.flatten(), dim=0)


def video(frames, size, seed=0):
    return torch.rand(1, frames, 3, *size, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
@pytest.mark.parametrize("size", [(32, 64), (96, 32), (48, 80)])
def test_square_tiles_give_latents_of_the_same_shape_that_mean_the_same(size):
    vae = Encoders("tiny", 5, size).vae(torch.float32)
    signed = video(1, size).transpose(1, 2) * 2 - 1
    whole = vae.encode(signed).latent_dist.mode()
    codec_of(vae).tile(32)
    tiled = vae.encode(signed).latent_dist.mode()
    assert tiled.shape == whole.shape and not torch.allclose(tiled, whole, atol=1e-3)
    # A tile put down one latent beside its place would fit the shifted latents better.
    fit = similarity(tiled, whole)
    assert fit > 0.4
    for axis in (-1, -2):
        for by in (-1, 1):
            assert similarity(tiled, whole.roll(by, axis)) < 0.8 * fit
    codec_of(vae).tile(None)
    # The same kernels on the same shapes, but on buffers of another alignment.
    torch.testing.assert_close(vae.encode(signed).latent_dist.mode(), whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("tile", [0, 16, 40])
def test_a_tile_that_does_not_divide_is_refused(tile):
    with pytest.raises(ValueError, match="multiple of 32"):
        codec_of(autoencoder((32, 64))).tile(tile)


@torch.no_grad()
@pytest.mark.parametrize("scale", [4, 8])
@pytest.mark.parametrize(
    "made_for, size",
    [
        ((128, 192), (128, 192)),
        ((64, 96), (64, 96)),
        ((96, 144), (96, 144)),
        ((72, 104), (72, 104)),
        ((40, 200), (80, 120)),
        # A last tile of a single latent.
        ((64, 64), (64, 120)),
    ],
)
def test_switched_on_as_it_is_it_keeps_every_size(scale, made_for, size):
    vae = autoencoder(made_for, scale)
    lay_out_tiles(vae)
    vae.enable_tiling()
    shown = video(5, size)
    latents = codec_of(vae).encode(shown)
    assert latents.shape == (1, 2, 4, size[0] // scale, size[1] // scale)
    assert codec_of(vae).decode(latents).shape == shown.shape


@torch.no_grad()
def test_the_embedded_autoencoder_shows_the_same_in_tiles():
    vae = Encoders(EMBEDDED, 25, (128, 192)).vae(torch.float32)
    coarse = video(1, (8, 12)).flatten(0, 1)
    smooth = torch.nn.functional.interpolate(coarse, (128, 192), mode="bilinear")[None]
    whole = codec_of(vae).decode(codec_of(vae).encode(smooth))
    vae.enable_tiling()
    tiled = codec_of(vae).decode(codec_of(vae).encode(smooth))
    assert tiled.shape == whole.shape
    # Group norms see a tile where they saw the frame; a tile beside its place would be far worse.
    apart = (tiled - whole).abs().mean()
    assert apart < 0.3 * (whole.roll(8, -1) - whole).abs().mean()


def tiles(vae):
    return (
        (vae.tile_sample_min_height, vae.tile_sample_min_width),
        (vae.tile_latent_min_height, vae.tile_latent_min_width),
        (vae.tile_overlap_factor_height, vae.tile_overlap_factor_width),
    )


def test_the_5b_keeps_the_tiles_that_it_came_with():
    vae = autoencoder((480, 720))
    lay_out_tiles(vae)
    vae.enable_tiling()
    assert tiles(vae) == ((240, 360), (30, 45), (1 / 6, 1 / 5))
    check_tiles(vae, (480, 720))


def test_of_tiles_that_do_not_divide_the_nearest_are_chosen():
    vae = autoencoder((128, 192))
    assert tiles(vae)[0] == (64, 96)
    lay_out_tiles(vae)
    # Of 8 latents a sixth is 1.3, of 12 a fifth is 2.4.
    assert tiles(vae) == ((64, 96), (8, 12), (1 / 8, 2 / 12))
    odd = autoencoder((90, 40))
    lay_out_tiles(odd)
    assert tiles(odd) == ((48, 32), (6, 4), (1 / 6, 1 / 4))


def test_any_tile_and_overlap_leads_to_one_that_divides():
    for scale in LEVELS:
        vae = autoencoder((64, 64), scale)
        for side in range(1, 130):
            for share in (0.02, 1 / 6, 0.3, 0.5, 0.97):
                vae.enable_tiling(side, side, share, share)
                lay_out_tiles(vae)
                check_tiles(vae, (1024, 1024))
                assert side <= vae.tile_sample_min_height <= max(side + scale, 4 * scale)


@torch.no_grad()
def test_tiles_of_the_users_own_are_refused_where_they_do_not_divide():
    vae = autoencoder((64, 96))
    vae.enable_tiling(40, 40, 0.3, 0.25)
    with pytest.raises(ValueError, match=r"tiles of 40x40 .* frames of 64x96 would change"):
        codec_of(vae).encode(video(1, (64, 96)))
    with pytest.raises(ValueError, match=r"vae.enable_tiling\(40, 40, 0.2, 0.2\) divides"):
        codec_of(vae).decode(torch.zeros(1, 1, 4, 8, 12))
    # What fits into one tile is not cut.
    assert codec_of(vae).encode(video(1, (32, 40))).shape == (1, 1, 4, 4, 5)
    vae.enable_tiling(40, 40, 0.2, 0.2)
    assert codec_of(vae).encode(video(1, (64, 96))).shape == (1, 1, 4, 8, 12)


def test_diffusers_cuts_as_it_is_reckoned_here():
    # Its own defaults at a size that they do not divide: the fault that is guarded against.
    vae = autoencoder((64, 96))
    vae.enable_tiling()
    with torch.no_grad():
        met = vae.encode(torch.zeros(1, 3, 1, 64, 96)).latent_dist.mode().shape[-2:]
    assert isinstance(vae, AutoencoderKLCogVideoX) and tuple(met) != (8, 12)
