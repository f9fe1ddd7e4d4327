"""Entry points tell of memories that contradict each other."""

import json

import pytest

from anchorweave.recordings import open_recording, write_recording
from anchorweave.run_config import RunConfig
from inference.runs.source import open_source, seen_clip
from training import prepare_clips


@pytest.fixture(scope="module")
def wrong(tmp_path_factory):
    """A room whose depth is said to be in another unit."""
    path = tmp_path_factory.mktemp("wrong") / "room"
    room = open_recording("procedural:seed=3,frames=24,size=48x80")
    write_recording(room.clip(range(24)), path)
    meta = json.loads((path / "transforms.json").read_text())
    meta["depth_unit_scale_factor"] *= 5
    (path / "transforms.json").write_text(json.dumps(meta))
    (path / "caption.txt").write_text("a room\n")
    return path


def test_what_a_run_remembers_is_checked(wrong):
    config = RunConfig(source=str(wrong), size=(48, 80), check="error")
    with pytest.raises(ValueError, match="room: memories contradict.*depth divided by 5"):
        seen_clip(config, open_source(config), range(24))
    config = RunConfig(source=str(wrong), size=(48, 80))
    with pytest.warns(UserWarning, match="room: memories contradict"):
        seen_clip(config, open_source(config), range(24))


def test_what_a_clip_remembers_is_checked(wrong, tmp_path, capsys):
    words = [f"source={wrong}", f"output={tmp_path / 'out'}", "frames=9", "size=[48,80]"]
    with pytest.raises(SystemExit):
        prepare_clips.main([*words, "check=error"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "memories contradict each other" in printed
    with pytest.warns(UserWarning, match="memories contradict"):
        prepare_clips.main([*words, "check=warn"])
