import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def report():
    done = subprocess.run(
        [sys.executable, "-m", "tests.models.compiled_networks"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("family", ["cogvideox", "wan"])
def test_blocks_are_compiled_once_for_all_layers_and_lengths(report, family):
    graphs = report[family]["graphs"]
    assert len(set(report[family]["visible"])) > 2
    # The backbone's kind (CogVideoX: its first block is given views) and the controller's, of any
    # number of layers; the controller's once more for any length; and then no more.
    assert graphs[0] <= 3 and graphs[1] <= graphs[0] + 1
    assert graphs[2] == graphs[1]
    assert report[family]["error"] < 1e-5


def test_a_woven_block_is_one_graph(report):
    assert max(report["woven"].values()) < 1e-5


def test_gradients_under_checkpointing_are_those_of_plain_blocks(report):
    assert report["gradients"] < 1e-5
