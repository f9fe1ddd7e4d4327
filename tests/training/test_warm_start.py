import pytest
import torch

from tests.models.small import small_backbone, small_controller
from training.networks.new import new_controller
from training.options.networks import NetworkConfig


@pytest.fixture(scope="module")
def backbone():
    return small_backbone()


@pytest.fixture
def saved(backbone, tmp_path):
    controller = small_controller(backbone)
    torch.manual_seed(0)
    for parameter in controller.parameters():
        parameter.data.normal_()
    controller.save_pretrained(tmp_path / "controller")
    return tmp_path / "controller", controller.state_dict()


@pytest.mark.parametrize(
    "other, differs",
    [
        ({}, 0),
        ({"attention": "separate"}, 0),
        ({"tokens": "visible"}, 0),
        ({"fusion": "average"}, 1),
    ],
)
def test_a_new_controller_starts_from_saved_weights(backbone, saved, other, differs):
    folder, weights = saved
    new = new_controller(NetworkConfig(warm_start=str(folder), **other), backbone, "filled")
    own = new.state_dict()
    assert all(torch.equal(own[name], weights[name]) for name in own)
    # Averages have no scores; nothing else is left behind.
    assert bool(set(weights) - set(own)) == bool(differs)
    assert new.config.holes == "filled"
    assert {name: getattr(new.config, name) for name in other} == other


def test_what_is_told_of_coverage_starts_at_nothing(backbone, saved):
    folder, weights = saved
    new = new_controller(NetworkConfig(warm_start=str(folder), coverage=True), backbone, "filled")
    own = new.state_dict()
    assert new.config.coverage and not own.pop("coverage_proj.weight").any()
    assert all(torch.equal(own[name], weights[name]) for name in weights)
    assert own.keys() == weights.keys()


def test_weights_of_another_size_are_refused(backbone, saved):
    folder, _ = saved
    heads = 2 * small_controller(backbone).config.num_heads
    with pytest.raises(ValueError, match=r"warm_start=.* has shape \[.*\], there \["):
        new_controller(NetworkConfig(warm_start=str(folder), heads=heads), backbone)


def test_no_saved_controller_is_one_message(backbone, tmp_path):
    with pytest.raises(FileNotFoundError, match="warm_start=.*no config.json"):
        new_controller(NetworkConfig(warm_start=str(tmp_path)), backbone)


@pytest.mark.parametrize(
    "start",
    [
        {"new_controller": "none"},
        {"new_controller": "from_backbone"},
        {"controller": "some/folder"},
    ],
    ids=str,
)
def test_only_a_new_controller_starts_from_another(start):
    with pytest.raises(ValueError, match="set model.controller=null and model.new_controller=rand"):
        NetworkConfig(**start, warm_start="x", train_backbone="lora")


def test_what_starts_from_trained_weights_may_be_kept(saved):
    folder, _ = saved
    NetworkConfig(warm_start=str(folder), train_controller=False, train_backbone="lora")
