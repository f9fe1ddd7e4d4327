"""Processes that load clips end with their rank, whatever ends it."""

import multiprocessing
import os
import signal

import pytest

from anchorweave.datasets.layout import BadClip
from anchorweave.errors import EndedError
from tests.training import runs
from tests.training.clips import write_clips
from tests.training.runs import config_of, launch, start, train_here, words
from training.engine.signals import stop_on_signals

# Below the ten minutes that a join without an end took; to start two ranks on a busy machine takes
# two of them.
PATIENCE = 400


data = runs.data


def at_step(run, step, act):
    """Do something where a clip of a step is loaded, in the process that loads it."""
    clean = run.clips.drawn

    def acting(clip, at):
        if at.step == step:
            act()
        return clean(clip, at)

    run.clips.drawn = acting


@pytest.mark.parametrize("workers", [1, 3])
def test_a_killed_worker_ends_the_run_and_the_others(data, tmp_path, workers):
    run = start(config_of(data, tmp_path / "run", data__workers=workers))
    at_step(run, 3, lambda: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(
        EndedError, match="data loading process was ended by SIGKILL; if memory ran out"
    ):
        train_here(run.config, run=run)
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    "broken", [ConnectionResetError(104, "reset by peer"), EOFError(), TypeError("x")]
)
def test_whatever_a_killed_worker_breaks_is_told_as_that(data, tmp_path, broken):
    """It may be cut off in the midst of handing a clip over."""
    run = start(config_of(data, tmp_path / "run", data__workers=1))
    with pytest.raises(EndedError, match="ended by SIGKILL"), run.calls() as calls:
        next(calls)
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
        raise broken
    # While they live, an error is what it says.
    with pytest.raises(ConnectionResetError, match="a tracker"), run.calls() as calls:
        next(calls)
        raise ConnectionResetError("a tracker")
    assert multiprocessing.active_children() == []


def test_an_error_of_the_rank_ends_its_workers(data, tmp_path, monkeypatch):
    run = start(config_of(data, tmp_path / "run", data__workers=2))

    def full(folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("training.engine.checkpoints.write_manifest", lambda *_: full(None))
    with pytest.raises(OSError, match="No space left on device"):
        train_here(run.config, run=run)
    assert multiprocessing.active_children() == []


def test_the_end_of_a_run_ends_them_too_and_ctrl_c_does(data, tmp_path):
    train_here(config_of(data, tmp_path / "whole", data__workers=2, steps=2))
    assert multiprocessing.active_children() == []
    run = start(config_of(data, tmp_path / "run", data__workers=2))
    at_step(run, 3, lambda: os.kill(os.getppid(), signal.SIGINT))
    with stop_on_signals() as stop:
        train_here(run.config, stop, run)
    assert stop.asked_by == "SIGINT" and multiprocessing.active_children() == []
    assert run.step < 12 and (run.checkpoints.path(run.step) / "manifest.json").is_file()


def test_a_second_ctrl_c_ends_at_once(monkeypatch):
    clock = iter([10.0, 10.5, 12.0])
    monkeypatch.setattr("training.engine.signals.time.monotonic", lambda: next(clock))
    with pytest.raises(KeyboardInterrupt), stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        # What a launcher passes on comes right behind.
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.asked_by == "SIGINT"
        os.kill(os.getpid(), signal.SIGINT)


def test_a_bad_clip_ends_its_workers(data, tmp_path):
    root = write_clips(tmp_path / "clips")
    run = start(config_of(data, tmp_path / "run", data__train=root, data__workers=2))
    (root / "clip_3" / "latents.safetensors").unlink()
    with pytest.raises(BadClip, match="latents.safetensors is missing"):
        train_here(run.config, run=run)
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    ("ranks", "how", "words_of_it"),
    [(1, "error", "rank 0 dies in step 3"), (2, "worker", "loading process was ended by SIGKILL")],
)
def test_processes_of_their_own_end_soon(data, tmp_path, ranks, how, words_of_it):
    """In a process of its own the end is that of Python, too, and of the launcher and its ranks."""
    arguments = words(data, tmp_path / "run", data__workers=2, batch_per_process=1)
    process = launch(arguments, ranks, die=f"{ranks - 1} 3 call {how}")
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode != 0 and words_of_it in said
