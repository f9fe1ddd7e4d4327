"""Runs that meet what is broken: numbers, clips, a disk."""

import json
from pathlib import Path

import pytest
import torch

from anchorweave.datasets.layout import BadClip
from tests.training import runs
from tests.training.clips import write_clips
from tests.training.runs import checkpoint, config_of, start, train_here
from training.engine.checkpoints import damage

data, one_thread = runs.data, runs.one_thread


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
    with pytest.raises(BadClip, match=r"clips/clip_3: latents.safetensors is missing; fix it"):
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
    with pytest.raises(ValueError, match="2 of 6 clips failed, more than data.bad_clip_share=0.2"):
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
    with pytest.raises(OSError, match="No space left on device.*earlier ones are unchanged"):
        train_here(run.config, run=run)
    assert [p.name for p in run.checkpoints.all()] == ["step-00000004"]
    assert damage(checkpoint(tmp_path / "run", 4)) is None


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
