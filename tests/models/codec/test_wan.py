import pytest
import torch

from anchorweave.models.backbones import codec_of
from anchorweave.models.codec.umt5_text import clean
from anchorweave.models.small.tiny_wan import tiny_wan_components
from tests.alike import alike


@pytest.fixture(scope="module")
def codec():
    return codec_of(tiny_wan_components()["vae"])


@pytest.fixture(autouse=True)
def untiled(codec):
    yield
    codec.tile(None)


def video(T=5, H=32, W=64):
    return torch.rand(1, T, 3, H, W, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_every_channel_is_scaled_by_its_own_numbers(codec):
    latents = codec.encode(video())
    assert latents.shape == (1, 2, 8, 2, 4)
    raw = codec.vae.encode(video().transpose(1, 2) * 2 - 1).latent_dist.mode().transpose(1, 2)
    for channel, (mean, deviation) in enumerate(
        zip(codec.vae.config.latents_mean, codec.vae.config.latents_std, strict=True)
    ):
        torch.testing.assert_close(latents[:, :, channel], (raw[:, :, channel] - mean) / deviation)
    torch.testing.assert_close(codec.unscaled(codec.scaled(raw)), raw)


@pytest.mark.parametrize("T", [1, 5, 13])
@torch.no_grad()
def test_every_length_comes_back(codec, T):
    latents = codec.encode(video(T))
    assert codec.decode(latents).shape == (1, T, 3, 32, 64)
    # The first frame alone is the first of the video.
    assert alike(codec.encode(video(T)[:, :1]), latents[:, :1])


@pytest.mark.parametrize("tile", [32, 64])
@torch.no_grad()
def test_tiles_keep_every_size(codec, tile):
    codec.tile(tile)
    latents = codec.encode(video(5, 96, 160))
    assert latents.shape == (1, 2, 8, 6, 10)
    assert codec.decode(latents).shape == (1, 5, 3, 96, 160)


def test_tiles_that_do_not_divide_are_refused(codec):
    with pytest.raises(ValueError, match="multiple of 32 pixels"):
        codec.tile(48)
    codec.vae.enable_tiling(40, 40, 24, 24)
    with pytest.raises(ValueError, match="multiples of 16"):
        codec.check_tiles((96, 160))
    codec.lay_out_tiles()
    codec.check_tiles((96, 160))


def test_prompts_are_cleaned_as_diffusers_does():
    assert clean("  a\troom &amp;amp; a\n lamp ") == "a room & a lamp"
