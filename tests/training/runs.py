"""Training runs inside a test: put together, run and taken apart in this process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from safetensors.torch import load_file

from anchorweave.config import load_config
from anchorweave.datasets.mixture import open_clips
from tests.alike import assert_trained_alike
from tests.training.clips import write_clips, write_model
from training.engine.assembly import prepare_run
from training.engine.loop import train
from training.engine.signals import Stop
from training.engine.strategy import check_launch, make_accelerator
from training.engine.tracking import read_log
from training.engine.validation import Validation
from training.options.training import TrainConfig

ROOT = Path(__file__).parents[2]
ALONE = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "-1"}
PATIENCE = 120


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Clips and a model; a module takes it, like the fixtures below, by `data = runs.data`."""
    root = tmp_path_factory.mktemp("data")
    write_clips(root / "clips")
    write_model(root / "model")
    return root


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Products this small are slower on several, and sum up in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """12 steps in one go."""
    output = tmp_path_factory.mktemp("runs") / "whole"
    train_here(config_of(data, output))
    return output


def words(data, output, **changes):
    """Overrides for a run of seconds."""
    values = {
        "output": output,
        "data.train": data / "clips",
        "model.path": data / "model",
        "model.layers": 2,
        "model.heads": 2,
        "steps": 12,
        "batch": 4,
        "batch_per_process": 2,
        "optimizer.warmup": 2,
        "checkpoints.every_steps": 4,
        "checkpoints.every_minutes": "null",
        "logging.picture_every": 1000,
    }
    values |= {key.replace("__", "."): value for key, value in changes.items()}
    return [f"{key}={value}" for key, value in values.items()]


def config_of(data, output, **changes):
    return load_config(TrainConfig, words(data, output, **changes))


def start(config):
    """A prepared run; the accelerator of an earlier one is forgotten."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    check_launch(config, environ={})
    return prepare_run(config, make_accelerator(config))


def train_here(config, stop=None, run=None):
    """The whole run, in this process."""
    run = run or start(config)
    validation = None
    if config.data.validation:
        clips = open_clips(config.data.validation, config.memory)
        validation = Validation(config, clips, run.networks.process)
    train(run, validation, stop or Stop())
    return run


def launch(arguments, ranks=1, die=None):
    """The same in processes of its own; `die` is "RANK STEP call|checkpoint kill|error|worker"."""
    module = "training.train" if die is None else "tests.training.dying"
    several = ["torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", "-m"]
    command = [sys.executable, "-m", *(several if ranks > 1 else []), module, *arguments]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | ALONE | ({} if die is None else {"DIE": die}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def losses(output):
    """Step -> the losses of its samples."""
    records = read_log(Path(output) / "log.jsonl")
    return {r["step"]: r["losses"] for r in records if "losses" in r}


def finished(process):
    """The exit status of a launched run, and what it said."""
    said, _ = process.communicate(timeout=PATIENCE)
    return process.returncode, said


def checkpoint(output, step=12):
    """Folder of the checkpoint after `step` steps."""
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
    """Two runs of 12 steps had the same losses and ended with the same state, but for rounding."""
    # Losses of one step and one set of weights: but for rounding, also after some steps.
    assert losses(a).keys() == losses(b).keys()
    for step, values in losses(a).items():
        assert values == pytest.approx(losses(b)[step], rel=1e-4)
    left, right = tensors(a), tensors(b)
    assert left.keys() == right.keys() and len(left) > 100
    assert_trained_alike(left, right, 2e-4)
