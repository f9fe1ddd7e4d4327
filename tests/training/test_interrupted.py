"""Runs that are stopped or killed, on one rank and two, and gone on with."""

import os
import shutil
import signal
import time

import pytest

from tests.alike import assert_trained_alike
from tests.training import runs
from tests.training.clips import write_clips, write_model
from tests.training.runs import (
    assert_same_run,
    checkpoint,
    config_of,
    finished,
    launch,
    losses,
    start,
    tensors,
    train_here,
    words,
)
from training.engine.checkpoints import MANIFEST, damage, write_manifest
from training.engine.signals import stop_on_signals

CONTROLLER = "controller/diffusion_pytorch_model.safetensors"
STOPPING = [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT]

data, whole, one_thread = runs.data, runs.whole, runs.one_thread


def test_killed_with_half_a_checkpoint_on_the_disk_it_goes_on_exactly(data, whole, tmp_path):
    killed = launch(words(data, tmp_path / "run"), die="0 7 checkpoint kill")
    assert finished(killed)[0] == -signal.SIGKILL
    assert (tmp_path / "run" / "checkpoints" / ".partial-step-00000008").is_dir()
    train_here(config_of(data, tmp_path / "run"))
    assert_same_run(whole, tmp_path / "run")


def test_a_wan_killed_between_two_calls_on_two_ranks_goes_on_exactly_on_one(data, tmp_path):
    wan = {"model__path": write_model(tmp_path / "model", "wan"), "draw__image_noise": "null"}
    two = {"batch_per_process": 1, "strategy": "ddp"}
    killed = launch(words(data, tmp_path / "run", **wan, **two), ranks=2, die="1 6 call kill")
    train_here(config_of(data, tmp_path / "whole", **wan))
    assert finished(killed)[0] != 0 and not checkpoint(tmp_path / "run", 8).exists()
    run = start(config_of(data, tmp_path / "run", **wan))
    assert run.step == 4 and run.networks.denoiser.family.name == "wan"
    train_here(run.config, run=run)
    assert_same_run(tmp_path / "whole", tmp_path / "run")


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


def test_two_ranks_train_as_one_does_and_go_on_exactly(data, whole, tmp_path):
    def arguments(name):
        return words(data, tmp_path / name, batch_per_process=1, strategy="ddp")

    one_go = launch(arguments("one_go"), ranks=2)
    killed = launch(arguments("killed"), ranks=2, die="1 6 call kill")
    code, said = finished(one_go)
    assert code == 0, said
    assert finished(killed)[0] != 0
    code, said = finished(launch(arguments("killed"), ranks=2))
    assert code == 0 and "resuming from" in said, said
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
    assert "step-00000012 is damaged" in said and "resuming from" in said
    assert_same_run(whole, tmp_path / "run")


def test_resume_is_as_it_is_told(data, whole, tmp_path, capsys):
    with pytest.raises(ValueError, match="resume=never, but .*step-00000012 exists"):
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
    assert "names of an earlier version and were not compared" in capsys.readouterr().out


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
    with pytest.raises(ValueError, match="attention=joint, but separate here.*another network"):
        start(config_of(data, tmp_path / "run", **here, model__attention="separate"))
    assert start(config_of(data, tmp_path / "run", **here, model__tokens="visible")).step == 12


def test_an_adapter_of_another_scale_does_not_go_on_from_a_checkpoint(data, tmp_path):
    changes = {"model__train_backbone": "lora", "steps": 1}
    train_here(config_of(data, tmp_path / "run", **changes))
    with pytest.raises(ValueError, match="lora_alpha=64, but 32 here"):
        start(config_of(data, tmp_path / "run", **changes, model__lora_alpha=32))


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
    assert "12 steps are already done, and steps=9" in capsys.readouterr().out


def test_clips_that_are_gone_or_new_since_the_last_go_are_named(data, tmp_path, capsys):
    clips = write_clips(tmp_path / "clips")
    config = config_of(data, tmp_path / "run", steps=4, data__train=clips)
    train_here(config)
    assert "since the last run" not in capsys.readouterr().out
    shutil.rmtree(clips / "clip_2")
    (clips / "clip_3").rename(clips / "clip_9")
    start(config)
    said = capsys.readouterr().out
    assert "2 are gone (clip_2, clip_3) and 1 are new (clip_9) since the last run" in said
    start(config)
    assert "since the last run" not in capsys.readouterr().out
