import pytest
import torch

from anchorweave.models.weaving.released_weights import (
    from_released_names,
    load_released_checkpoint,
    load_released_state,
    to_released_names,
)
from tests.models.small import small_backbone, small_controller


@pytest.fixture
def controller():
    return small_controller(small_backbone())


def other(controller, factor):
    return {
        name: factor * tensor for name, tensor in to_released_names(controller.state_dict()).items()
    }


def test_names_there_and_back(controller):
    ours = controller.state_dict()
    released = to_released_names(ours)
    assert not ours.keys() & released.keys() - {n for n in ours if n.startswith("time_embedding")}
    back = from_released_names(released)
    assert list(back) == list(ours)
    assert all(back[name] is ours[name] for name in ours)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize(("weights", "factor"), [("live", 2.0), ("ema", 3.0)])
def test_a_checkpoint_fills_the_controller(controller, tmp_path, prefix, weights, factor):
    before = {name: tensor.clone() for name, tensor in controller.state_dict().items()}
    entries = {
        "state_dict": {prefix + n: v for n, v in other(controller, 2.0).items()},
        "ema_state_dict": {prefix + n: v for n, v in other(controller, 3.0).items()},
    }
    torch.save(entries, tmp_path / "checkpoint-1.pt")
    load_released_checkpoint(tmp_path / "checkpoint-1.pt", controller, weights)
    for name, tensor in controller.state_dict().items():
        assert torch.equal(tensor, factor * before[name])


def test_whatever_does_not_fit_is_named_and_nothing_is_changed(controller):
    before = {name: tensor.clone() for name, tensor in controller.state_dict().items()}
    state = other(controller, 2.0)
    del state["out_projectors.1.bias"]
    state["camera_time_conv.9.weight"] = torch.zeros(1)
    state["patch_embed.proj.weight"] = torch.zeros(64, 32, 2, 2)
    with pytest.raises(ValueError) as error:
        load_released_state(state, controller, where="here.pt")
    for words in (
        "here.pt does not fit this controller (3 tensors)",
        "missing: out_projectors.1.bias",
        "unexpected: camera_time_conv.9.weight",
        "wrong shape: patch_embed.proj.weight is (64, 32, 2, 2), the controller's (64, 8, 2, 2)",
    ):
        assert words in str(error.value)
    assert all(torch.equal(tensor, before[n]) for n, tensor in controller.state_dict().items())


def test_a_checkpoint_of_more_layers_is_refused(controller):
    deeper = small_controller(small_backbone(), num_layers=3)
    with pytest.raises(ValueError, match=r"unexpected: transformer_blocks\.2\.ff"):
        load_released_state(to_released_names(deeper.state_dict()), controller, where="deeper")
    average = small_controller(small_backbone(), fusion="average")
    with pytest.raises(ValueError, match=r"unexpected: confidence_net\.0"):
        load_released_state(to_released_names(controller.state_dict()), average, where="average")


def test_files_that_are_no_checkpoint(controller, tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.pt"):
        load_released_checkpoint(tmp_path / "absent.pt", controller)
    (tmp_path / "noise.pt").write_bytes(b"no checkpoint at all")
    with pytest.raises(ValueError, match="noise.pt is not a readable checkpoint"):
        load_released_checkpoint(tmp_path / "noise.pt", controller)
    torch.save({"state_dict": other(controller, 1.0)}, tmp_path / "live.pt")
    with pytest.raises(ValueError, match="has no 'ema_state_dict' but"):
        load_released_checkpoint(tmp_path / "live.pt", controller)
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="but list"):
        load_released_checkpoint(tmp_path / "list.pt", controller)
    with pytest.raises(ValueError, match="got 'best'"):
        load_released_checkpoint(tmp_path / "live.pt", controller, weights="best")
