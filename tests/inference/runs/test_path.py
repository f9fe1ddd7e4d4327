"""The path of a rollout: words before files."""

from dataclasses import replace

import pytest
import torch

from anchorweave.geometry.cameras import Cameras, intrinsics
from anchorweave.run_config import RolloutConfig, RunConfig
from inference.runs.path import planned_cameras


@pytest.mark.parametrize("spec", ["static", "pan(degrees=20)"])
def test_a_folder_called_like_a_preset_is_not_meant(tmp_path, monkeypatch, spec):
    monkeypatch.chdir(tmp_path)
    (tmp_path / spec).mkdir()
    start = Cameras(torch.eye(4), intrinsics(8.0, 8.0, 4.0, 3.0), (6, 8))
    config = RunConfig(frames=5, rollout=RolloutConfig(trajectory=spec, segments=2))
    assert len(planned_cameras(config, start, 1.0)) == 9


def test_other_names_are_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "static.txt").mkdir()
    start = Cameras(torch.eye(4), intrinsics(8.0, 8.0, 4.0, 3.0), (6, 8))
    config = RunConfig(frames=5, rollout=RolloutConfig(trajectory="static.txt"))
    with pytest.raises((ValueError, FileNotFoundError), match="static.txt"):
        planned_cameras(config, start, 1.0)
    with pytest.raises(ValueError, match="unknown"):
        planned_cameras(replace(config, rollout=RolloutConfig(trajectory="statics")), start, 1.0)
