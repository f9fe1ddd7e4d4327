"""Training the backbone without memory: no controller, and no anchor that is read."""

import json
from dataclasses import replace

import pytest
import torch
from diffusers import CogVideoXTransformer3DModel
from safetensors.torch import load_file, save_file

from anchorweave.config import load_config
from anchorweave.datasets.layout import BadClip
from anchorweave.datasets.mixture import open_clips
from anchorweave.models.denoiser import Denoiser
from anchorweave.models.small.vae import VAEConfig, small_vae
from tests.alike import alike, assert_trained_alike
from tests.models.small import h, small_anchors, small_backbone, small_call, small_image, t, w
from tests.training.clips import write_clips, write_model
from tests.training.runs import config_of, losses, start, train_here
from training.dry_run import describe, estimate
from training.engine.validation import Validation
from training.estimates.missing import missing_files
from training.estimates.run_shapes import ClipShape
from training.options.networks import NetworkConfig
from training.options.training import TrainConfig

ALONE = {"model__new_controller": "none", "model__train_backbone": "full"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Clips without anchors, and a model whose VAE compresses four times in space."""
    root = tmp_path_factory.mktemp("data")
    clips = write_clips(root / "clips")
    for file in clips.glob("*/latents.safetensors"):
        kept = {k: v for k, v in load_file(file).items() if k in ("target", "image")}
        save_file(kept, file, {"made": "{}"})
    write_model(root / "model")
    vae = small_vae(VAEConfig(channels=(8, 8, 16), latent_channels=4), (4 * h, 4 * w), 0)
    vae.save_pretrained(root / "model" / "vae")
    return root


def tensors(folder):
    return {
        f"{path.relative_to(folder)}: {name}": value
        for path in sorted(folder.rglob("*.safetensors"))
        for name, value in load_file(path).items()
    }


@torch.no_grad()
def test_a_denoiser_without_a_controller_is_the_backbone():
    backbone, call, image = small_backbone(), small_call(small_backbone(), B=2), small_image(B=2)
    expected = backbone(
        hidden_states=torch.cat([call["noisy_latents"], image], dim=2),
        encoder_hidden_states=call["prompt_features"],
        timestep=call["timestep"],
        image_rotary_emb=call["positions"],
        return_dict=False,
    )[0]
    denoiser = Denoiser(backbone, None)
    assert [name.split(".")[0] for name in denoiser.state_dict()] == ["backbone"] * len(
        backbone.state_dict()
    )
    for N in (0, 2):
        woven = denoiser(image_latents=image, anchors=small_anchors(B=2, N=N), **call)
        assert alike(woven, expected)


@pytest.mark.parametrize("backbone, folder", [("full", "transformer"), ("lora", "backbone_lora")])
def test_it_trains_saves_the_backbone_alone_and_goes_on_exactly(data, tmp_path, backbone, folder):
    changes = ALONE | {
        "model__train_backbone": backbone,
        "model__gradient_checkpointing": True,
        "steps": 6,
        "checkpoints__every_steps": 3,
        # There is nothing to hide, so no black video is encoded.
        "draw__anchors__hidden": "black",
    }
    run = train_here(config_of(data, tmp_path / "whole", **changes))
    assert run.clips.black is None and run.networks.denoiser.controller is None
    saved = tmp_path / "whole" / "checkpoints" / "step-00000006"
    assert sorted(p.name for p in saved.iterdir() if p.is_dir()) == [folder, f"{folder}_ema"]
    older = tmp_path / "whole" / "checkpoints" / "step-00000003"
    train_here(config_of(data, tmp_path / "resumed", **changes, resume=older))
    left = tensors(saved)
    right = tensors(tmp_path / "resumed" / "checkpoints" / "step-00000006")
    assert left.keys() == right.keys() and len(left) > 20
    assert_trained_alike(left, right, 2e-4)


def test_the_loss_falls_and_the_checkpoint_opens(data, tmp_path):
    few = write_clips(tmp_path / "clips", count=2)
    config = config_of(
        data,
        tmp_path / "run",
        data__train=few,
        steps=60,
        optimizer__learning_rate=0.01,
        optimizer__schedule="cosine",
        draw__caption_dropout=0.0,
        checkpoints__every_steps=1000,
        **ALONE,
    )
    train_here(config)
    curve = [sum(step) / len(step) for step in losses(tmp_path / "run").values()]
    assert sum(curve[-10:]) < 0.6 * sum(curve[:10])
    saved = tmp_path / "run" / "checkpoints" / "step-00000060"
    opened = CogVideoXTransformer3DModel.from_pretrained(saved / "transformer_ema")
    assert opened.config.num_layers == 3
    record = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert record["anchors_visible"] == 0


def test_videos_are_sampled_through_a_vae_of_four_times_in_space(data, tmp_path):
    config = config_of(
        data,
        tmp_path / "run",
        **ALONE,
        steps=2,
        validation__videos=1,
        validation__steps=2,
        validation__clips=2,
    )
    config = replace(config, data=replace(config.data, validation=str(data / "clips")))
    run = start(config)
    clips = open_clips(config.data.validation, config.memory)
    found = Validation(config, clips, run.networks.process).measure(run, 1, last=True)
    assert {"validation/loss", "validation/psnr"} <= found.keys()
    assert len(list((tmp_path / "run" / "validation").rglob("*.mp4"))) == 1


def test_anchors_are_needed_as_soon_as_they_are_woven(data, tmp_path):
    with pytest.raises(BadClip, match="latents.safetensors lacks"):
        start(config_of(data, tmp_path / "run"))


def test_without_a_controller_a_frozen_backbone_leaves_nothing_to_train():
    with pytest.raises(ValueError, match="model.new_controller=none.*nothing to train"):
        load_config(TrainConfig, ["model.new_controller=none"])


def test_a_dry_run_counts_the_backbone_alone(data, tmp_path):
    config = config_of(data, tmp_path / "run", **ALONE)
    report = describe(config)
    assert report["missing"] == missing_files(config) == []
    parameters = report["parameters"]
    assert parameters["controller"] == 0 and parameters["trained"] == parameters["backbone"] > 0
    assert report["tokens"]["controller"] == 0 and report["tokens"]["backbone"] == 5 + t * 2 * 3
    clips = ClipShape((t, h, w), 2, 5, 10, "a test")
    network = NetworkConfig(path="nowhere", layers=2, heads=2, train_backbone="full")
    settings = {k: v for k, v in small_backbone().config.items() if not k.startswith("_")}
    woven = estimate(TrainConfig(model=network), settings, clips, world=1)
    alone = replace(network, new_controller="none")
    lone = estimate(TrainConfig(model=alone), settings, clips, world=1)
    for part in ("forward", "backward"):
        assert 0 < lone["tflops_per_step"][part] < woven["tflops_per_step"][part]
    assert lone["memory_gib"][0]["total"] < woven["memory_gib"][0]["total"]


@pytest.mark.parametrize("name", ["weave", "controller", "one_gpu/weave"])
def test_the_configs_of_anchorweave_tiny_load(name):
    path = f"configs/anchorweave_tiny/{name}.yaml"
    config = load_config(TrainConfig, (), path)
    together = name.endswith("weave")
    assert (config.model.train_backbone == "full", config.draw.alone > 0) == (together, together)
    assert f"config={path}" in open(path).readline()
