"""Two small recordings, and the words of a row over them with networks made for the test."""

from pathlib import Path

import pytest
import torch

import inference.generate as generate
from anchorweave.config import load_config
from anchorweave.recordings.nerfstudio import write_recording
from anchorweave.run_config import RunConfig
from inference.evaluation.config import EvaluationConfig
from inference.runs.generator import load_pipeline
from tests.rooms import look, view_room

CONFIGS = Path(__file__).parent.parent.parent / "configs" / "evaluation"
BASE = load_config(EvaluationConfig, [f"config={CONFIGS / 'anchorweave_tiny.yaml'}"])


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms")
    for name, shift in (("one", 0.0), ("two", 0.3)):
        yaws = torch.linspace(-0.4, 0.4, 10) + shift
        positions = [[0.1 * i - 0.5 + shift, 0.0, -1.0] for i in range(10)]
        write_recording(view_room(look(positions, yaws, (32, 64), 40.0)), folder / name)
    return folder


@pytest.fixture(scope="module")
def networks():
    return load_pipeline(load_config(RunConfig, ["frames=5", "size=[32,64]"]))


@pytest.fixture
def words(rooms, networks, tmp_path, monkeypatch):
    """The words of a small row; its networks are made once for all tests."""
    monkeypatch.setattr(generate, "load_pipeline", lambda config: networks)
    return [
        f"config={CONFIGS.parent / 'tiny.yaml'}",
        f"source={rooms}",
        f"output={tmp_path}",
        "row=here",
        "frames=5",
        "size=[32,64]",
        "sampling.steps=2",
        "sampling.guidance=1",
        "retrieval.chunk=2",
        "perception.plane_sweep.planes=16",
    ]
