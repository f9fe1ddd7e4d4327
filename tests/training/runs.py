"""Training runs inside a test: put together, run and taken apart in this process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState, GradientState

from anchorweave.config import load_config
from anchorweave.datasets.mixture import open_clips
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


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Clips and a model; a module takes it by `data = runs.data`."""
    root = tmp_path_factory.mktemp("data")
    write_clips(root / "clips")
    write_model(root / "model")
    return root


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
        clips = open_clips(config.data.validation)
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
