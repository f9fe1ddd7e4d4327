"""A run on two ranks, from its command."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from anchorweave.memory import MemoryConfig
from anchorweave.run_config import ModelConfig, RunConfig
from inference.runs.generator import load_pipeline
from inference.runs.ranks import together
from inference.sample import main as sample

ROOT = Path(__file__).parents[3]
SPLIT = RunConfig(model=ModelConfig(split="guidance"), size=(32, 64), frames=5)
SAMPLE = [
    *("config=configs/tiny.yaml", "model.path=tiny", "size=[32,64]", "frames=5"),
    *("sampling.guidance=3", "sampling.steps=1", "without_memory=false"),
]


def score(output):
    return json.loads((output / "metrics.json").read_text())["generated"]["psnr_all"]


def test_two_ranks_sample_what_one_does_and_one_of_them_writes(tmp_path):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m"]
    words = [*SAMPLE, f"output={tmp_path / 'two'}", "model.split=guidance"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ranks = subprocess.Popen(
        [*launcher, "inference.sample", *words],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    sample([*SAMPLE, f"output={tmp_path / 'one'}"])
    said, _ = ranks.communicate(timeout=600)
    assert ranks.returncode == 0, said
    # dB, from rounding.
    assert score(tmp_path / "two") == pytest.approx(score(tmp_path / "one"), abs=0.01)
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two"}


def test_one_rank_and_a_shared_memory_are_refused(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with (
        pytest.raises(ValueError, match="was started on 1; start it with torchrun"),
        together(SPLIT),
    ):
        pass
    monkeypatch.setenv("WORLD_SIZE", "2")
    shared = replace(SPLIT, memory=MemoryConfig(path="bank"))
    with pytest.raises(ValueError, match="cannot both write memory.path=bank"), together(shared):
        pass


def test_a_command_of_one_rank_refuses_to_split(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="one of 1 rank.*torchrun"):
        load_pipeline(SPLIT)
