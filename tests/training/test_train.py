"""Whole runs of a small network, in this process and in ones of their own."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from anchorweave.datasets.layout import BadClip
from anchorweave.models.controller import WeavingController
from tests.alike import assert_trained_alike
from tests.training import runs
from tests.training.clips import write_clips
from tests.training.runs import config_of, launch, losses, start, train_here, words
from training.engine.checkpoints import MANIFEST, damage, write_manifest
from training.engine.signals import stop_on_signals

GOLDEN = Path(__file__).parent / "golden_curve.json"
CONTROLLER = "controller/diffusion_pytorch_model.safetensors"
PATIENCE = 120


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Products this small are slower on several, and sum up in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


data = runs.data


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """12 steps in one go."""
    output = tmp_path_factory.mktemp("runs") / "whole"
    train_here(config_of(data, output))
    return output


def checkpoint(output, step=12):
    return output / "checkpoints" / f"step-{step:08d}"


def tensors(output, step=12):
    """Weights, their running average and the optimiser's state."""
    folder = checkpoint(output, step)
    return {
        f"{path.relative_to(folder)}: {name}": value
        for path in sorted(folder.rglob("*.safetensors"))
        for name, value in load_file(path).items()
    }


def assert_same_run(a, b):
    # Losses of one step and one set of weights: but for rounding, also after some steps.
    assert losses(a).keys() == losses(b).keys()
    for step, values in losses(a).items():
        assert values == pytest.approx(losses(b)[step], rel=1e-4)
    left, right = tensors(a), tensors(b)
    assert left.keys() == right.keys() and len(left) > 100
    assert_trained_alike(left, right, 2e-4)


def finished(process):
    said, _ = process.communicate(timeout=PATIENCE)
    return process.returncode, said


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


def test_killed_at_any_moment_it_goes_on_exactly(data, whole, tmp_path):
    """Between two calls of a step, and with half a checkpoint on the disk."""
    arguments = words(data, tmp_path / "run")
    for die in ("0 6 call kill", "0 7 checkpoint kill"):
        assert finished(launch(arguments, die=die))[0] == -signal.SIGKILL
    assert (tmp_path / "run" / "checkpoints" / ".partial-step-00000008").is_dir()
    train_here(config_of(data, tmp_path / "run"))
    assert_same_run(whole, tmp_path / "run")


@pytest.mark.parametrize("backbone", ["lora", "full"])
def test_a_trained_backbone_goes_on_exactly_in_the_bf16_setting(data, tmp_path, backbone):
    changes = {
        "precision": "bf16",
        "model__train_backbone": backbone,
        "model__gradient_checkpointing": True,
        "steps": 6,
        "checkpoints__every_steps": 3,
        "checkpoints__keep": 9,
    }
    train_here(config_of(data, tmp_path / "whole", **changes))
    resumed = {"resume": checkpoint(tmp_path / "whole", 3)}
    train_here(config_of(data, tmp_path / "resumed", **changes, **resumed))
    left, right = tensors(tmp_path / "whole", 6), tensors(tmp_path / "resumed", 6)
    folder = {"lora": "backbone_lora", "full": "transformer"}[backbone]
    assert {"controller", folder} <= {name.split("/")[0] for name in left}
    assert left.keys() == right.keys()
    assert_trained_alike(left, right, 2e-4)


def test_kept_attention_changes_nothing(data, whole, tmp_path):
    changes = {"model__gradient_checkpointing": True, "model__kept": "attention"}
    train_here(config_of(data, tmp_path / "run", **changes))
    assert_same_run(whole, tmp_path / "run")


def test_gradient_checkpointing_changes_nothing(data, whole, tmp_path):
    train_here(config_of(data, tmp_path / "run", model__gradient_checkpointing=True))
    for step, values in losses(tmp_path / "run").items():
        assert values == pytest.approx(losses(whole)[step], rel=1e-5)


def test_two_ranks_train_as_one_does_and_go_on_exactly(data, whole, tmp_path):
    def arguments(name):
        return words(data, tmp_path / name, batch_per_process=1, strategy="ddp")

    one_go = launch(arguments("one_go"), ranks=2)
    killed = launch(arguments("killed"), ranks=2, die="1 6 call kill")
    code, said = finished(one_go)
    assert code == 0, said
    assert finished(killed)[0] != 0
    code, said = finished(launch(arguments("killed"), ranks=2))
    assert code == 0 and "going on from" in said, said
    assert_same_run(tmp_path / "one_go", tmp_path / "killed")
    # The same as one rank, but for the order in which gradients are summed.
    together, alone = losses(tmp_path / "one_go"), losses(whole)
    for step, values in together.items():
        assert values == pytest.approx(alone[step], rel=1e-4)
    assert together[0] == pytest.approx(alone[0], rel=1e-6)


def test_a_rank_that_dies_ends_the_others_with_its_error(data, tmp_path):
    # `finished` waits for less long than a rank would for one that is gone.
    arguments = words(data, tmp_path, batch_per_process=1)
    code, said = finished(launch(arguments, ranks=2, die="1 3 call error"))
    assert code != 0 and "rank 1 dies in step 3" in said


STOPPING = [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT]


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_in_mid_step_leaves_a_complete_checkpoint(data, whole, tmp_path, number):
    run = start(config_of(data, tmp_path / "run"))
    clean = run.clips.drawn

    def signalled(clip, at):
        if at.step == 5:
            os.kill(os.getpid(), number)
        return clean(clip, at)

    run.clips.drawn = signalled
    with stop_on_signals() as stop:
        train_here(run.config, stop, run)
    assert stop.asked_by == number.name
    assert run.step == 6 and damage(checkpoint(tmp_path / "run", 6)) is None
    train_here(config_of(data, tmp_path / "run"))
    assert_same_run(whole, tmp_path / "run")


def test_a_damaged_checkpoint_is_passed_over_by_name(data, whole, tmp_path, capsys):
    train_here(config_of(data, tmp_path / "run"))
    file = checkpoint(tmp_path / "run") / CONTROLLER
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    capsys.readouterr()
    train_here(config_of(data, tmp_path / "run"))
    said = capsys.readouterr().out
    assert "step-00000012 is damaged" in said and "going on from" in said
    assert_same_run(whole, tmp_path / "run")


def nan_in(run, steps):
    clean = run.clips.drawn

    def poisoned(clip, at):
        drawn = clean(clip, at)
        if at.step in steps and at.place == 0:
            drawn.noise.fill_(torch.nan)
        return drawn

    run.clips.drawn = poisoned


def test_steps_that_are_not_finite_are_skipped_and_counted(data, tmp_path, capsys):
    run = start(config_of(data, tmp_path / "run", steps=6))
    nan_in(run, {2, 4})
    train_here(run.config, run=run)
    assert run.guard.skipped == [2, 4] and run.guard.skipped_ever == 2
    assert all(p.isfinite().all() for p in run.parameters.values())
    assert capsys.readouterr().out.count(": skipped (loss nan") == 2
    assert all(state["step"] == 4 for state in run.optimizer.state.values())
    assert run.average.optimization_step == 4


def test_too_many_of_them_stop_the_run(data, tmp_path):
    run = start(config_of(data, tmp_path / "run", guard__limit=1))
    nan_in(run, {2, 3})
    with pytest.raises(RuntimeError, match="step 3: a loss is not finite.*guard.limit=1"):
        train_here(run.config, run=run)


def broken_data(data, tmp_path, count):
    root = write_clips(tmp_path / "clips")
    for i in range(count):
        file = root / f"clip_{i}" / "latents.safetensors"
        file.write_bytes(file.read_bytes()[:-100])
    return {"data__train": root}


def test_a_bad_clip_stops_the_run_with_its_path(data, tmp_path):
    broken = broken_data(data, tmp_path, 0)
    run = start(config_of(data, tmp_path / "run", **broken))
    (broken["data__train"] / "clip_3" / "latents.safetensors").unlink()
    with pytest.raises(BadClip, match=r"clips/clip_3: latents.safetensors is missing; mend it"):
        train_here(run.config, run=run)


def test_quarantine_records_a_bad_clip_and_goes_on_up_to_its_limit(data, tmp_path):
    changes = {"data__on_bad_clip": "quarantine", "data__bad_clip_share": 0.2, "steps": 4}
    config = config_of(data, tmp_path / "run", **broken_data(data, tmp_path, 0), **changes)
    run = start(config)
    latents = sorted((tmp_path / "clips").glob("*/latents.safetensors"))
    latents[3].unlink()
    train_here(config, run=run)
    (line,) = (tmp_path / "run" / "bad_clips.jsonl").read_text().splitlines()
    assert json.loads(line)["clip"].endswith("clip_3")
    run = start(config_of(data, tmp_path / "two", data__train=tmp_path / "clips", **changes))
    latents[4].unlink()
    with pytest.raises(ValueError, match="2 of 6 clips broke, more than data.bad_clip_share=0.2"):
        train_here(run.config, run=run)


def test_a_disk_that_fills_up_ends_the_run_and_keeps_what_is_there(data, tmp_path, monkeypatch):
    run = start(config_of(data, tmp_path / "run"))

    def full(tensors, path, metadata=None):
        Path(path).write_bytes(b"x")
        raise OSError(28, "No space left on device")

    def fill_up(*_):
        monkeypatch.setattr("training.engine.run.save_file", full)

    clean = run.clips.drawn
    run.clips.drawn = lambda clip, at: (at.step == 5 and fill_up()) or clean(clip, at)
    with pytest.raises(OSError, match="No space left on device.*earlier ones are untouched"):
        train_here(run.config, run=run)
    assert [p.name for p in run.checkpoints.all()] == ["step-00000004"]
    assert damage(checkpoint(tmp_path / "run", 4)) is None


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


def test_resume_is_as_it_is_told(data, whole, tmp_path, capsys):
    with pytest.raises(ValueError, match="resume=never, but .*step-00000012 is there"):
        start(config_of(data, whole, resume="never"))
    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        start(config_of(data, tmp_path / "run", resume=tmp_path / "nowhere"))
    run = start(config_of(data, tmp_path / "run", resume=checkpoint(whole, 8)))
    assert run.step == 8
    with pytest.raises(ValueError, match="another network than this config's"):
        start(config_of(data, tmp_path / "run", resume=checkpoint(whole), model__layers=1))
    capsys.readouterr()
    start(config_of(data, tmp_path / "run", resume=checkpoint(whole), seed=7))
    assert "changed since: seed: 3407 then, 7 now" in capsys.readouterr().out


def test_a_checkpoint_of_an_earlier_version_is_gone_on_from(data, whole, tmp_path, capsys):
    shutil.copytree(checkpoint(whole, 8), tmp_path / "old")
    old = tmp_path / "old" / "config.yaml"
    old.write_text(old.read_text().replace("model:", "network:"))
    (tmp_path / "old" / MANIFEST).unlink()
    write_manifest(tmp_path / "old", 8)
    run = start(config_of(data, tmp_path / "run", resume=tmp_path / "old"))
    assert run.step == 8
    assert "names of an earlier version: not compared" in capsys.readouterr().out


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


def test_what_validation_will_need_is_tried_before_the_first_step(data, tmp_path):
    other = write_clips(tmp_path / "clips", count=2)
    (other / "clip_0" / "caption.safetensors").unlink()
    config = config_of(data, tmp_path / "run", data__validation=other)
    with pytest.raises(BadClip, match="caption.safetensors is missing"):
        train_here(config)
    assert not (tmp_path / "run" / "log.jsonl").exists()


@pytest.mark.parametrize("number", STOPPING)
def test_processes_that_load_clips_outlive_what_stops_the_run(data, whole, tmp_path, number):
    """A launcher signals the whole process group, loaders included."""
    run = start(config_of(data, tmp_path / "run", data__workers=1))
    clean = run.clips.drawn

    def signalled(clip, at):
        # Called by the loading process: it gets the signal, and so does its rank.
        if at.step == 5:
            os.kill(os.getppid(), number)
            os.kill(os.getpid(), number)
        return clean(clip, at)

    run.clips.drawn = signalled
    with stop_on_signals() as stop:
        train_here(run.config, stop, run)
    assert stop.asked_by == number.name
    assert damage(checkpoint(tmp_path / "run", run.step)) is None
    train_here(config_of(data, tmp_path / "run"))
    assert_same_run(whole, tmp_path / "run")


def test_going_back_to_an_older_checkpoint_sets_the_newer_ones_aside(data, tmp_path, capsys):
    output = tmp_path / "run"
    train_here(config_of(data, output))
    older = checkpoint(output, 4)
    train_here(config_of(data, output, resume=older, steps=6, checkpoints__keep=1))
    assert "set aside as given-up-step-00000012" in capsys.readouterr().out
    names = {path.name for path in (output / "checkpoints").iterdir() if path.is_dir()}
    assert names == {"step-00000006", "given-up-step-00000008", "given-up-step-00000012"}


def test_an_attention_of_another_kind_does_not_go_on_from_a_checkpoint(data, whole, tmp_path):
    """Its weights would fit."""
    here = {"resume": checkpoint(whole)}
    with pytest.raises(ValueError, match="attention=joint, and separate here.*another network"):
        start(config_of(data, tmp_path / "run", **here, model__attention="separate"))
    assert start(config_of(data, tmp_path / "run", **here, model__tokens="visible")).step == 12


def test_an_adapter_of_another_scale_does_not_go_on_from_a_checkpoint(data, tmp_path):
    changes = {"model__train_backbone": "lora", "steps": 1}
    train_here(config_of(data, tmp_path / "run", **changes))
    with pytest.raises(ValueError, match="lora_alpha=64, and 32 here"):
        start(config_of(data, tmp_path / "run", **changes, model__lora_alpha=32))


def test_weights_that_are_no_numbers_are_not_saved(data, tmp_path):
    run = start(config_of(data, tmp_path / "run", steps=6))
    step = run.optimizer.step

    def breaking(*given):
        step(*given)
        if run.step == 4:
            next(iter(run.parameters.values())).data.flatten()[0] = torch.inf

    run.optimizer.step = breaking
    with pytest.raises(RuntimeError, match="controller.* trained weights are not finite"):
        train_here(run.config, run=run)
    assert [path.name for path in run.checkpoints.all()] == ["step-00000004"]


def test_what_a_crash_left_of_small_files_does_not_end_the_resume(data, whole, tmp_path, capsys):
    output = tmp_path / "run"
    changes = {"data__validation": data / "clips", "validation__every": 4}
    train_here(config_of(data, output, **changes))
    (output / "checkpoints" / "best.json").write_text("")
    manifest = bytearray((checkpoint(output) / "manifest.json").read_bytes())
    manifest[len(manifest) // 2] ^= 0x80
    (checkpoint(output) / "manifest.json").write_bytes(manifest)
    with (output / "log.jsonl").open("ab") as log:
        log.write(b'{"step": 8, "loss"\n')
    capsys.readouterr()
    train_here(config_of(data, output, **changes))
    said = capsys.readouterr().out
    assert "step-00000012 is damaged" in said and "best.json cannot be read" in said
    assert "log.jsonl: cannot read line" in said
    assert_same_run(whole, output)


def test_two_runs_in_one_folder(data, tmp_path):
    """The second one is told of the first, by a message and without harm to it."""
    arguments = words(data, tmp_path / "run", steps=100000)
    first = launch(arguments)
    try:
        while not (tmp_path / "run" / "checkpoints").is_dir():
            assert first.poll() is None
            time.sleep(0.1)
        code, said = finished(launch(arguments, ranks=2))
        assert code != 0 and "is in use by" in said and f"process {first.pid} on" in said
    finally:
        first.send_signal(signal.SIGINT)
    assert finished(first)[0] == 0
    assert not (tmp_path / "run" / ".in-use.json").exists()


def test_a_run_that_is_done_says_so(data, whole, capsys):
    train_here(config_of(data, whole, steps=9))
    assert "12 steps are done already; steps=9 asks for no more" in capsys.readouterr().out


def test_clips_that_are_gone_or_new_since_the_last_go_are_named(data, tmp_path, capsys):
    clips = write_clips(tmp_path / "clips")
    config = config_of(data, tmp_path / "run", steps=4, data__train=clips)
    train_here(config)
    assert "since the last go" not in capsys.readouterr().out
    shutil.rmtree(clips / "clip_2")
    (clips / "clip_3").rename(clips / "clip_9")
    start(config)
    said = capsys.readouterr().out
    assert "2 are gone (clip_2, clip_3) and 1 are new (clip_9) since the last go" in said
    start(config)
    assert "since the last go" not in capsys.readouterr().out


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
