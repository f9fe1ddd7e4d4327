import math

import pytest
import torch

from anchorweave.diffusion.timesteps import TimestepConfig, sample_timestep

TOTAL = 1000


def draws(config, count=5_000, total=TOTAL, seed=0):
    make = torch.Generator().manual_seed(seed)
    return torch.tensor([sample_timestep(config, total, make) for _ in range(count)])


def test_uniform_meets_every_timestep_alike():
    t = draws(TimestepConfig(), count=20_000, total=10)
    counts = torch.bincount(t, minlength=10)
    assert len(counts) == 10
    # 20,000 / 10 each; five standard deviations of a binomial
    assert (counts - 2000).abs().max() < 5 * math.sqrt(20_000 * 0.1 * 0.9)


@pytest.mark.parametrize("kind", ["uniform", "truncated_normal", "logit_normal"])
def test_every_kind_stays_in_its_range_and_reaches_its_ends(kind):
    t = draws(TimestepConfig(kind, low=0.2, high=0.3, mean=0.2, std=50.0))
    assert t.min() == 200 and t.max() == 299


@pytest.mark.parametrize("kind", ["truncated_normal", "logit_normal"])
def test_mass_at_the_upper_end_never_gives_total(kind):
    t = draws(TimestepConfig(kind, mean=1.0 if kind == "truncated_normal" else 40.0, std=1e-3))
    assert t.max() == TOTAL - 1
    assert t.min() >= TOTAL - 10


def test_the_largest_uniform_number_gives_the_last_timestep(monkeypatch):
    largest = torch.tensor(1 - 2**-53, dtype=torch.float64)
    monkeypatch.setattr(torch, "rand", lambda *_, **__: largest)
    for kind in ("uniform", "truncated_normal", "logit_normal"):
        assert sample_timestep(TimestepConfig(kind), TOTAL, torch.Generator()) == TOTAL - 1


def test_truncated_normal_has_the_moments_of_its_density():
    config = TimestepConfig("truncated_normal", low=0.1, high=0.7, mean=0.6, std=0.2)
    x = torch.linspace(0.1, 0.7, 100_001, dtype=torch.float64)
    density = torch.exp(-(((x - 0.6) / 0.2) ** 2) / 2)
    density /= density.sum()
    mean = (x * density).sum()
    std = ((x - mean).square() * density).sum().sqrt()
    t = (draws(config).double() + 0.5) / TOTAL
    assert abs(t.mean() - mean) < 5 * std / math.sqrt(len(t))
    assert abs(t.std() - std) < 0.03 * std


def test_logit_normal_has_its_median_at_the_sigmoid_of_the_mean():
    t = draws(TimestepConfig("logit_normal", mean=1.0, std=0.5))
    below = (t < 1000 * torch.sigmoid(torch.tensor(1.0))).double().mean()
    assert abs(below - 0.5) < 5 * 0.5 / math.sqrt(len(t))


def test_one_number_of_the_generator_whatever_the_kind():
    left = set()
    for kind in ("uniform", "truncated_normal", "logit_normal"):
        make = torch.Generator().manual_seed(3)
        sample_timestep(TimestepConfig(kind), TOTAL, make)
        left.add(torch.rand((), generator=make).item())
    assert len(left) == 1


@pytest.mark.parametrize("low, high", [(0.5, 0.5), (0.6, 0.5), (-0.1, 1.0), (0.0, 1.1)])
def test_an_empty_range_is_refused(low, high):
    with pytest.raises(ValueError, match="low"):
        TimestepConfig(low=low, high=high)


@pytest.mark.parametrize("std", [0.0, -1.0, math.inf, math.nan])
def test_a_spread_that_is_none_is_refused(std):
    with pytest.raises(ValueError, match="std"):
        TimestepConfig(std=std)


def test_a_distribution_outside_its_range_is_refused():
    config = TimestepConfig("truncated_normal", mean=100.0, std=0.1)
    with pytest.raises(ValueError, match="never falls between"):
        sample_timestep(config, TOTAL, torch.Generator())
