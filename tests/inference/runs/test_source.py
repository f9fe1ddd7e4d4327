"""Plain footage as a source: its cameras are found once, and depth is estimated."""

from importlib.util import find_spec

import pytest
import torch

import inference.runs.source
from anchorweave.config import load_config
from anchorweave.images import write_frame
from anchorweave.recordings import open_recording
from anchorweave.run_config import RunConfig
from inference.runs.source import open_source, posed, seen_clip, unit_of
from tests.recordings.reconstruction.test_reconstruct import FOCAL, SIZE, photographs, walk


def configured(tmp_path, *words):
    K = f"[{FOCAL},{FOCAL},{SIZE[1] / 2},{SIZE[0] / 2}]"
    source, output = tmp_path / "footage", tmp_path / "run"
    return load_config(
        RunConfig, [f"source={source}", f"output={output}", f"recording.intrinsics={K}", *words]
    )


@pytest.mark.skipif(find_spec("pycolmap") is None, reason="no pycolmap")
def test_footage_becomes_a_recording_of_the_run_once(tmp_path, capsys, monkeypatch):
    photographs(tmp_path / "footage", walk()[0])
    config = configured(tmp_path)
    made = posed(config)
    assert made.source == str(tmp_path / "run" / "recording")
    assert made.perception.kind == "plane_sweep" and made.rollout.seen == 9
    assert len(open_source(made)) == 9
    assert "registered 9 of 9 frames" in capsys.readouterr().out
    monkeypatch.setattr(inference.runs.source, "reconstruct", None)
    assert posed(config) == made
    # Copied or moved, it is the same footage.
    for photo in (tmp_path / "footage").iterdir():
        photo.touch()
    assert posed(config) == made
    assert posed(configured(tmp_path, "perception=zoe")).perception.kind == "zoe"
    write_frame(torch.rand(3, 64, 96), tmp_path / "footage" / "view 9.png")
    with pytest.raises(ValueError, match="was made from other footage.*remove it"):
        posed(config)


def test_what_has_poses_is_left_alone():
    config = load_config(RunConfig, [])
    assert posed(config) is config
    assert posed(load_config(RunConfig, ["source=procedural:seed=1"])).source == "procedural:seed=1"


def test_a_photograph_without_depth_is_told_of_networks(tmp_path):
    write_frame(torch.rand(3, 32, 48), tmp_path / "footage.jpg")
    words = [f"source={tmp_path / 'footage.jpg'}", "recording.field_of_view=60"]
    config = load_config(RunConfig, words)
    assert posed(config) is config
    with pytest.raises(ValueError, match="holds no depth.*perception=depth_anything"):
        open_source(config)
    assert open_recording(tmp_path / "footage.jpg", options=config.recording).has_frames
    with pytest.raises(ValueError, match="needs depth; memory=posed_frames"):
        open_source(load_config(RunConfig, [*words, "perception=none"]))


def test_frames_without_geometry_need_no_depth(tmp_path):
    # Context-as-Memory starts from a bare photograph.
    write_frame(torch.rand(3, 32, 48), tmp_path / "photo.jpg")
    words = [f"source={tmp_path / 'photo.jpg'}", "recording.field_of_view=60", "size=[32,48]"]
    config = load_config(RunConfig, [*words, "perception=none", "memory=posed_frames"])
    seen = seen_clip(config, open_source(config), [0])
    assert not seen.depth.any() and unit_of(config, seen) == 1
