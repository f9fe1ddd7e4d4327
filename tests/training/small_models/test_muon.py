import pytest
import torch
from torch import nn

from anchorweave.models.small.vae import VAEConfig, fast_convolutions, small_vae
from tests.alike import alike
from training.small_models.muon import MuonAndAdamW


def network():
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Conv3d(3, 12, 3, padding=1), nn.GELU(), nn.Conv3d(12, 16, 3, padding=1), nn.GELU()
    )
    made[2].weight.data = made[2].weight.data.contiguous(memory_format=torch.channels_last_3d)
    return made.append(nn.Conv2d(16, 12, 3))


def parameters(made):
    return dict(made.named_parameters())


def gradient(made):
    torch.manual_seed(1)
    for parameter in made.parameters():
        parameter.grad = torch.randn(parameter.shape)


def test_kernels_between_many_channels_take_orthogonal_steps_and_the_rest_adams():
    made = network()
    before = {name: p.detach().clone() for name, p in made.named_parameters()}
    optimizer = MuonAndAdamW(parameters(made), 1e-2)
    gradient(made)
    optimizer.step(1e-2)
    steps = {name: p.detach() - before[name] for name, p in made.named_parameters()}
    for name in ("2.weight", "4.weight"):
        values = torch.linalg.svdvals(steps[name].flatten(1))
        # Five Newton-Schulz steps bring singular values near one another, not to one.
        assert values.max() < 2.5 * values.min(), name
        expected = 1e-2 * 0.2 * max(steps[name].flatten(1).shape) ** 0.5
        assert 0.5 * expected < values.mean() < 1.5 * expected, name
    # Adam's first step is the learning rate, whatever the gradient.
    for name in ("0.weight", "2.bias", "4.bias"):
        torch.testing.assert_close(
            steps[name].abs(), torch.full_like(steps[name], 1e-2), rtol=1e-3, atol=0
        )
    assert all(p.grad is None for p in made.parameters())


def test_layout_in_memory_does_not_matter():
    ends = []
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        made = network()
        kernel = made[2].weight
        kernel.data = kernel.data.contiguous(memory_format=layout)
        optimizer = MuonAndAdamW(parameters(made), 1e-2)
        for _ in range(2):
            gradient(made)
            optimizer.step(1e-2)
        ends.append(made[2].weight.detach().clone())
    torch.testing.assert_close(ends[0], ends[1], atol=1e-3, rtol=0)


def test_the_learning_rate_of_a_step_is_the_one_it_is_given():
    made = network()
    optimizer = MuonAndAdamW(parameters(made), 1e-2)
    before = {name: p.detach().clone() for name, p in made.named_parameters()}
    gradient(made)
    optimizer.step(0.0)
    assert all(torch.equal(p, before[name]) for name, p in made.named_parameters())


def test_state_comes_back():
    made = network()
    optimizer = MuonAndAdamW(parameters(made), 1e-2)
    gradient(made)
    optimizer.step(1e-2)
    state = {name: value.clone() for name, value in optimizer.tensors().items()}
    assert {"2.weight/momentum_buffer", "0.weight/exp_avg", "2.bias/step"} <= state.keys()
    other = network()
    other.load_state_dict(made.state_dict())
    again = MuonAndAdamW(parameters(other), 1e-2)
    again.fill(state)
    for one, network_ in ((optimizer, made), (again, other)):
        gradient(network_)
        one.step(1e-2)
    for name, value in made.state_dict().items():
        assert alike(value, other.state_dict()[name]), name


@pytest.mark.parametrize("channels", [(16, 16, 16)])
def test_an_autoencoder_gives_most_of_its_weights_to_muon(channels):
    vae = fast_convolutions(small_vae(VAEConfig(channels, 12), (16, 16), 0))
    optimizer = MuonAndAdamW(dict(vae.named_parameters()), 1e-3)
    total = sum(p.numel() for p in vae.parameters())
    assert sum(m.numel() for m in optimizer._matrices.values()) > 0.8 * total
