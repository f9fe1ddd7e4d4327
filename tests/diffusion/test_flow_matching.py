import math

import pytest
import torch

from anchorweave.diffusion.flow_matching import FlowMatching
from anchorweave.diffusion.objective import ObjectiveConfig, clip_loss
from anchorweave.diffusion.timesteps import TimestepConfig

PROCESS = FlowMatching()


@pytest.fixture
def drawn():
    make = torch.Generator().manual_seed(0)
    clean, noise = (torch.randn(3, 4, 2, 2, 2, generator=make) for _ in range(2))
    timestep = torch.tensor([1.0, 400.5, 1000.0])
    return clean, noise, timestep, PROCESS.add_noise(clean, noise, timestep)


def test_noise_replaces_what_was_there_along_a_line(drawn):
    clean, noise, timestep, noisy = drawn
    torch.testing.assert_close(noisy[0], 0.999 * clean[0] + 0.001 * noise[0])
    torch.testing.assert_close(noisy[2], noise[2])
    target = PROCESS.target(clean, noise, timestep)
    torch.testing.assert_close(PROCESS.clean_from(noisy, target, timestep), clean)


@pytest.mark.parametrize("error_in", ["v", "x0", "epsilon"])
def test_errors_are_those_of_what_is_named(drawn, error_in):
    """By their definition, without the frame that is given; none at all of what is perfect."""
    clean, noise, timestep, noisy = drawn
    timestep = timestep.clamp(50, 950)
    noisy = PROCESS.add_noise(clean, noise, timestep)
    said = torch.randn(clean.shape, generator=torch.Generator().manual_seed(5))
    config = ObjectiveConfig(error_in=error_in, motion_weight=0.0)
    s = (timestep / 1000)[:, None, None, None, None]
    truth = {
        "v": said - (noise - clean),
        "x0": (noisy - s * said) - clean,
        "epsilon": (noisy + (1 - s) * said) - noise,
    }[error_in]
    expected = truth[:, 1:].square().mean(dim=(1, 2, 3, 4))
    met = clip_loss(PROCESS, said, noisy, clean, timestep, config).total
    torch.testing.assert_close(met, expected, rtol=1e-3, atol=1e-5)
    perfect = PROCESS.target(clean, noise, timestep)
    assert clip_loss(PROCESS, perfect, noisy, clean, timestep, config).total.max() < 1e-6


def draws(count=1500, **config):
    make = torch.Generator().manual_seed(1)
    return torch.tensor(
        [PROCESS.draw_timestep(TimestepConfig(**config), make) for _ in range(count)]
    )


def test_draws_are_uniform_shifted_or_logit_normal():
    assert abs(draws().median() / 1000 - 0.5) < 0.03
    # The median of what is shifted is its median, shifted: 5/2 / (1 + 4/2).
    assert abs(draws(shift=5.0).median() / 1000 - 5 / 6) < 0.02
    normal = draws(kind="logit_normal", mean=0.5) / 1000
    assert abs(normal.median() - 1 / (1 + math.exp(-0.5))) < 0.03
    for found in (draws(shift=5.0), draws(kind="logit_normal")):
        assert found.min() >= 1 and found.max() <= 1000
    assert PROCESS.timestep_at(0.0) == 1 and PROCESS.timestep_at(0.25) == 250


def test_a_shift_is_positive():
    with pytest.raises(ValueError, match="shift=0"):
        TimestepConfig(shift=0.0)
