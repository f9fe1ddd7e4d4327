"""What the authors released goes on here: their checkpoint and their data layout, as they are."""

import json

import torch
from safetensors.torch import save_file

from anchorweave.config import load_config
from anchorweave.models.controller import WeavingController
from anchorweave.models.small.tiny import TEXT_CHANNELS, TEXT_TOKENS, tiny_components, write_tiny
from anchorweave.models.weaving.released_weights import to_released_names
from inference.sample import main as sample
from tests.datasets.test_released_layout import H, T, W, write_released
from tests.training.runs import start, train_here
from tests.training.small_data import write_room
from training.options.training import TrainConfig


def write_checkpoint(path):
    """A file as the released training writes it, for the tiny backbone; its average differs."""
    backbone = tiny_components(frames=T, size=(H, W))["transformer"]
    torch.manual_seed(1)
    controller = WeavingController.from_backbone(backbone)
    for project in controller.control_proj:
        torch.nn.init.normal_(project.weight, std=0.02)
    average = to_released_names(controller.state_dict())
    live = {name: tensor + 0.01 for name, tensor in average.items()}
    torch.save({"state_dict": live, "ema_state_dict": average, "epoch": 8}, path)
    return controller


def test_a_released_checkpoint_and_data_set_train_and_sample(tmp_path):
    write_tiny(tmp_path / "model", frames=T, size=(H, W))
    released = write_checkpoint(tmp_path / "checkpoint-8500.pt")
    write_released(tmp_path / "clips", features=(TEXT_TOKENS, TEXT_CHANNELS))
    words = [
        f"output={tmp_path / 'run'}",
        f"data.train={tmp_path / 'clips'}",
        "data.visible_first_frame=always",
        f"model.path={tmp_path / 'model'}",
        f"model.controller={tmp_path / 'checkpoint-8500.pt'}",
        f"model.layers={released.config.num_layers}",
        f"model.heads={released.config.num_heads}",
        "draw.caption_dropout=0",
        "steps=2",
        "batch=2",
    ]
    config = load_config(TrainConfig, words)
    exported = tmp_path / "average.safetensors"
    save_file(to_released_names(released.state_dict()), exported)
    for words_of_start, live in (
        ([f"model.controller={exported}"], 0.0),
        (["model.released_weights=live"], 0.01),
    ):
        run = start(load_config(TrainConfig, [*words, *words_of_start]))
        weight = run.networks.denoiser.controller.control_proj[0].weight
        assert torch.equal(weight, released.control_proj[0].weight + live)
    run = start(config)
    weight = run.networks.denoiser.controller.control_proj[0].weight
    assert torch.equal(weight, released.control_proj[0].weight)
    train_here(config, run=run)
    assert run.step == 2 and not torch.equal(weight, released.control_proj[0].weight)

    room = write_room(tmp_path / "room")
    for controller in (
        "checkpoint-8500.pt",
        "average.safetensors",
        "run/checkpoints/step-00000002/controller",
    ):
        sample(
            [
                f"source={room}",
                f"output={tmp_path / 'out'}",
                f"model.path={tmp_path / 'model'}",
                f"model.controller={tmp_path / controller}",
                f"size=[{H},{W}]",
                f"frames={T}",
                "split.step=null",
                "sampling.steps=1",
                "sampling.visible_first_frame=always",
            ]
        )
        metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
        assert metrics["weights"].endswith(controller)
        assert 0 < metrics["generated"]["psnr_all"] < 100
