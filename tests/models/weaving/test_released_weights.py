import argparse

import pytest
import torch
from safetensors.torch import save_file

from anchorweave.models.weaving.released_file import is_released_file
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
        # What the tensors tell of their network, and of the one they are loaded into.
        "made for 2 layers, width 64, channels a head 32, width of the backbone 64, latent "
        "channels of video and anchor together 32,",
        "is one for 2 layers, width 64, channels a head 32, width of the backbone 64, latent "
        "channels of video and anchor together 8,",
        "model.path",
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


@pytest.mark.parametrize("name", ["average.pt", "average.safetensors"])
def test_an_export_of_the_moving_average_fills_the_controller(controller, tmp_path, name):
    before = {name: tensor.clone() for name, tensor in controller.state_dict().items()}
    path, state = tmp_path / name, other(controller, 3.0)
    torch.save(state, path) if path.suffix == ".pt" else save_file(state, path)
    with pytest.raises(ValueError, match="no live weights; leave released_weights"):
        load_released_checkpoint(path, controller, "live")
    load_released_checkpoint(path, controller)
    for name, tensor in controller.state_dict().items():
        assert torch.equal(tensor, 3.0 * before[name])


def test_weights_of_our_own_controllers_are_told_apart(controller, tmp_path):
    controller.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="own controllers, not released ones; name the folder"):
        load_released_checkpoint(tmp_path / "diffusion_pytorch_model.safetensors", controller)


def test_only_files_are_released_files(tmp_path):
    (tmp_path / "folder.safetensors").mkdir()
    assert not is_released_file(tmp_path / "folder.safetensors")
    assert not is_released_file(tmp_path) and not is_released_file(None)
    assert is_released_file("absent.pt") and is_released_file("absent.safetensors")


def write_cut(content, path):
    torch.save(content, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def write_bytes(content, path):
    path.write_bytes(content)


HTML = b"<!DOCTYPE html><html>404</html>"
DAMAGED = "it is damaged or of another kind; download"


@pytest.mark.parametrize(
    "name, write, content, message",
    [
        ("a.pt", write_bytes, HTML, f"not a readable .*Unsupported operand 60.; {DAMAGED} it"),
        ("a.pt", write_bytes, b"", f"not a readable .*EOFError.; {DAMAGED} it"),
        ("a.pt", write_cut, {"state_dict": {"a": torch.ones(9)}}, f"not a readable .*{DAMAGED} it"),
        ("a.safetensors", write_bytes, HTML, f"not a readable .*{DAMAGED} or export it"),
        (
            "a.pt",
            torch.save,
            {"state_dict": {}, "args": argparse.Namespace(x=1)},
            r"is whole, but holds objects .*argparse\.Namespace.*weights_only=False",
        ),
        (
            "a.pt",
            torch.save,
            {"epoch": 3, "model": {"a": torch.ones(1)}},
            "should hold 'state_dict'.*holds epoch, model besides",
        ),
        ("a.pt", torch.save, [torch.zeros(1)], "holds a list, not tensors by name"),
    ],
)
def test_files_that_are_no_checkpoint_say_why(controller, tmp_path, name, write, content, message):
    write(content, tmp_path / name)
    with pytest.raises(ValueError, match=f"(?s){message}") as error:
        load_released_checkpoint(tmp_path / name, controller)
    # Another download mends only a damaged file.
    assert ("download" in str(error.value)) == ("download" in message)


def test_missing_files_and_weights(controller, tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.pt"):
        load_released_checkpoint(tmp_path / "absent.pt", controller)
    torch.save({"state_dict": other(controller, 1.0)}, tmp_path / "live.pt")
    with pytest.raises(ValueError, match="no 'ema_state_dict' but.*model.released_weights=live"):
        load_released_checkpoint(tmp_path / "live.pt", controller)
    torch.save({"ema_state_dict": other(controller, 1.0)}, tmp_path / "ema.pt")
    with pytest.raises(ValueError, match="no 'state_dict' but.*model.released_weights=ema"):
        load_released_checkpoint(tmp_path / "ema.pt", controller, "live")
    with pytest.raises(ValueError, match="got 'best'"):
        load_released_checkpoint(tmp_path / "live.pt", controller, released_weights="best")
