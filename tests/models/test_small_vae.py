import pytest
import torch

from anchorweave.models.backbones import codec_of
from anchorweave.models.small.vae import VAEConfig, fast_convolutions, small_vae

SMALL = VAEConfig(channels=(8, 8, 16), latent_channels=4, norm_groups=4)


def test_three_levels_compress_four_times_in_space_and_in_time():
    vae = small_vae(SMALL, (32, 32), seed=0)
    video = torch.rand(2, 9, 3, 32, 48)
    latents = codec_of(vae).encode(video)
    assert latents.shape == (2, 3, 4, 8, 12)
    assert codec_of(vae).decode(latents).shape == video.shape


def test_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    first = small_vae(SMALL, (32, 32), seed=5)
    state = torch.get_rng_state()
    torch.manual_seed(2)
    again, other = small_vae(SMALL, (32, 32), seed=5), small_vae(SMALL, (32, 32), seed=6)
    weights = [vae.encoder.conv_in.conv.weight for vae in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state()), "the global random state moved"


def test_the_layout_of_convolutions_changes_no_value():
    vae = small_vae(SMALL, (32, 32), seed=0)
    video = torch.rand(1, 5, 3, 32, 32)
    with torch.no_grad():
        before = codec_of(vae).encode(video)
        after = codec_of(fast_convolutions(vae)).encode(video)
    assert vae.encoder.conv_in.conv.weight.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("wrong", [{"channels": (8, 16)}, {"channels": (8, 12, 16)}])
def test_levels_that_do_not_fit_are_refused(wrong):
    with pytest.raises(ValueError, match="three levels or more|divisible by norm_groups=8"):
        VAEConfig(**wrong)


@pytest.mark.parametrize("channels", [(8, 16), (8, 12, 12), (8, 8, 16)])
def test_levels_that_wan_cannot_have_are_refused(channels):
    with pytest.raises(ValueError, match="three levels or more|multiples of the first, and the"):
        VAEConfig(family="wan", channels=channels)
