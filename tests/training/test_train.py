"""Whole runs of a small network: what they leave, and what changes nothing in them."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from anchorweave.datasets.layout import BadClip
from anchorweave.models.controller import WeavingController
from tests.training import runs
from tests.training.clips import write_clips
from tests.training.runs import assert_same_run, checkpoint, config_of, losses, start, train_here
from training.engine.checkpoints import damage
from training.train import main

GOLDEN = Path(__file__).parent / "golden_curve.json"

data, whole, one_thread = runs.data, runs.whole, runs.one_thread


def test_a_run_leaves_what_it_promises(whole):
    assert [p.name for p in sorted(whole.iterdir())] == [
        "checkpoints",
        "clips.json",
        "config.yaml",
        "log.jsonl",
        "loss.png",
        "loss_by_timestep.png",
        "origin.json",
    ]
    assert [p.name for p in sorted((whole / "checkpoints").iterdir())] == [
        f"step-{step:08d}" for step in (4, 8, 12)
    ]
    assert damage(checkpoint(whole)) is None
    record = json.loads((whole / "log.jsonl").read_text().splitlines()[-1])
    assert record["step"] == 11 and len(record["losses"]) == len(record["timesteps"]) == 4
    for name in ("loss/motion", "gradient_norm", "learning_rate", "anchors_visible"):
        assert record[name] > 0
    for name in ("seconds_per_step", "samples_per_second", "peak_memory_gib"):
        assert record[name] > 0
    assert record["skipped_steps"] == 0 and 0 <= record["waiting_share"] < 1


def test_the_controller_opens_as_diffusers_laid_it_out(whole):
    live = WeavingController.from_pretrained(checkpoint(whole) / "controller")
    average = WeavingController.from_pretrained(checkpoint(whole) / "controller_ema")
    state = average.state_dict()
    assert live.config.num_layers == 2 and live.dtype == torch.float32
    moved = [name for name, value in live.state_dict().items() if not value.equal(state[name])]
    assert len(moved) == len(state)


def test_over_fitting_and_the_golden_curve(data, tmp_path):
    """The loss on fixed noise falls to a fifth in 80 steps, along the curve that it always took."""
    few = write_clips(tmp_path / "clips", count=2)
    config = config_of(
        data,
        tmp_path / "run",
        data__train=few,
        data__validation=few,
        validation__every=80,
        steps=80,
        optimizer__learning_rate=0.01,
        optimizer__schedule="cosine",
        draw__caption_dropout=0.0,
        checkpoints__every_steps=1000,
    )
    run = train_here(config)
    curve = [sum(step) / len(step) for step in losses(tmp_path / "run").values()]
    assert curve == pytest.approx(json.loads(GOLDEN.read_text()), rel=0.02)
    # Untrained it is 1.35: noise of variance 1, and what the random backbone adds to it.
    assert curve[0] > 1.2 and run.checkpoints.best() < 1.2 / 5


def test_kept_attention_changes_nothing(data, whole, tmp_path):
    changes = {"model__gradient_checkpointing": True, "model__kept": "attention"}
    train_here(config_of(data, tmp_path / "run", **changes))
    assert_same_run(whole, tmp_path / "run")


def test_gradient_checkpointing_changes_nothing(data, whole, tmp_path):
    train_here(config_of(data, tmp_path / "run", model__gradient_checkpointing=True))
    for step, values in losses(tmp_path / "run").items():
        assert values == pytest.approx(losses(whole)[step], rel=1e-5)


def test_validation_is_of_live_and_averaged_weights_and_leaves_the_run_as_it_was(
    data, whole, tmp_path
):
    config = config_of(
        data,
        tmp_path / "run",
        data__validation=data / "clips",
        validation__every=4,
        validation__clips=3,
        validation__videos=1,
        validation__videos_every=12,
        validation__steps=2,
        checkpoints__every_steps=4,
    )
    train_here(config)
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    found = [r for r in map(json.loads, lines) if "validation/loss" in r]
    assert [r["step"] for r in found] == [3, 7, 11]
    assert all(r["validation/loss"] != r["validation/loss_average"] for r in found)
    assert {"validation/psnr", "validation/ssim"} <= found[-1].keys()
    (video,) = (tmp_path / "run" / "validation").glob("*/*.mp4")
    assert video.name == "000.mp4"
    best = json.loads((tmp_path / "run" / "checkpoints" / "best.json").read_text())
    assert best["loss"] == min(r["validation/loss_average"] for r in found)
    assert_same_run(whole, tmp_path / "run")


def test_what_the_launcher_does_not_give_is_found_out(data, tmp_path):
    """FSDP2 on CPU processes becomes DDP without a word from the launcher; not without ours."""
    environ = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
    run = config_of(data, tmp_path / "run", batch_per_process=4)
    with pytest.MonkeyPatch.context() as patched:
        for name, value in environ.items():
            patched.setenv(name, value)
        with pytest.raises(RuntimeError, match="strategy: asked for fsdp2, but the run has single"):
            start(run)


def test_hidden_anchors_may_show_the_latent_of_black(data, tmp_path):
    run = start(config_of(data, tmp_path / "run", draw__anchors__hidden="black", steps=1))
    assert run.clips.black.shape == (3, 4, 4, 6) and run.clips.black.any()
    train_here(run.config, run=run)


@pytest.mark.parametrize(
    "lacking, said",
    [("", "no such folder"), ("caption.safetensors", "run training.precompute_latents")],
)
def test_validation_clips_that_are_missing_are_told_before_anything_is_loaded(
    data, tmp_path, lacking, said
):
    other = tmp_path / "clips"
    if lacking:
        write_clips(other, count=2)
        (other / "clip_0" / lacking).unlink()
    # No model either: it would be the first error if anything were loaded.
    arguments = runs.words(data, tmp_path / "run", data__validation=other, model__path="nowhere")
    with pytest.raises(ValueError, match=f"data.validation=.*{said}.*data.validation=null"):
        main(arguments)
    assert not (tmp_path / "run").exists()


def test_what_validation_will_need_is_tried_before_the_first_step(data, tmp_path):
    other = write_clips(tmp_path / "clips", count=2)
    (other / "clip_0" / "caption.safetensors").unlink()
    config = config_of(data, tmp_path / "run", data__validation=other)
    with pytest.raises(BadClip, match="caption.safetensors is missing"):
        train_here(config)
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_weights_of_another_size_are_said_once(data, tmp_path, capsys):
    start(config_of(data, tmp_path / "same", steps=4))
    assert "were made for" not in capsys.readouterr().out
    model = shutil.copytree(data / "model", tmp_path / "model")
    config = model / "transformer" / "config.json"
    settings = json.loads(config.read_text())
    settings["sample_height"] *= 2
    config.write_text(json.dumps(settings))
    start(config_of(data, tmp_path / "other", steps=4, model__path=model))
    assert capsys.readouterr().out.count("were made for") == 1
