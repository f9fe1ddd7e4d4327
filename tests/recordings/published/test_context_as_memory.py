"""Context-as-Memory's layout: Unreal's cameras become ours, captions go by stretches."""

import json

import pytest
import torch

from anchorweave.images import write_frame
from anchorweave.recordings import RecordingConfig, open_recording
from anchorweave.recordings.search import find_recordings


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "frames" / "Town_1"
    folder.mkdir(parents=True)
    (tmp_path / "jsons").mkdir()
    told = {}
    turns = [[0, 0, 0], [0, 0, 90], [0, 30, 0], [90, 0, 0]]
    for i, turn in enumerate(turns):
        write_frame(torch.full((3, 16, 32), i / 8), folder / f"{i:04d}.png")
        told[str(i)] = {"position": [100.0 * i, 200.0, 300.0], "rotation": turn, "scale": [1, 1, 1]}
    (tmp_path / "jsons" / "Town_1.json").write_text(json.dumps({"CineCameraActor": told}))
    (tmp_path / "captions.txt").write_text(
        "Town_1/0000_0001.mp4\tA gate.\nTown_1/0002_0003.mp4\tA well.\nTown_2/0000_0001.mp4\tX.\n"
    )
    return tmp_path


def test_unreals_axes_become_ours(root):
    assert find_recordings(str(root)) == {"frames-Town_1": str(root / "frames" / "Town_1")}
    recording = open_recording(root / "frames" / "Town_1")
    assert recording.names == ("0000", "0001", "0002", "0003") and not recording.has_depth
    c2w = recording.cameras.c2w
    # Metres; y to the right became y to the left, so that the world is right-handed.
    assert torch.allclose(c2w[1, :3, 3], torch.tensor([1.0, -2.0, 3.0]))
    right, down, forward = c2w[..., :3].unbind(-1)
    x, y, z = torch.eye(3)
    close = {"atol": 1e-6}
    assert torch.allclose(forward[0, :3], x, **close) and torch.allclose(right[0, :3], -y, **close)
    assert torch.allclose(down[0, :3], -z, **close)
    # A yaw of 90 degrees looks to Unreal's right, a pitch upwards; a roll lets the right side sink.
    assert torch.allclose(forward[1, :3], -y, **close)
    assert torch.allclose(forward[2, :3], 0.75**0.5 * x + 0.5 * z, **close)
    assert torch.allclose(right[3, :3], -z, **close)
    assert torch.allclose(torch.linalg.det(c2w[:, :3, :3]), torch.ones(4))
    # 24 mm on 23.76 mm of filmback, or what is given.
    assert recording.cameras.K[0, 0, 0] == pytest.approx(32 * 24 / 23.76)
    wide = RecordingConfig(field_of_view=90.0)
    assert open_recording(recording.path, options=wide).cameras.K[0, 0, 0] == pytest.approx(16)


def test_captions_go_by_stretches(root):
    recording = open_recording(root / "frames" / "Town_1")
    assert recording.caption([2, 3]) == "A well." and recording.caption([0, 1, 2]) == "A gate."
    assert recording.caption() == "A gate."
    (root / "captions.txt").write_text("Town_1 A gate.\n")
    with pytest.raises(ValueError, match="captions.txt, line 1: expected SCENE/FIRST_LAST.mp4"):
        recording.caption([0])


def test_what_is_missing_or_wrong_is_named(root):
    folder = root / "frames" / "Town_1"
    (folder / "0001.png").unlink()
    with pytest.raises(FileNotFoundError, match="1 of 4 frames.*0001: no image"):
        open_recording(folder)
    assert len(open_recording(folder, missing="skip")) == 3
    (root / "jsons" / "Town_1.json").write_text('{"CineCameraActor": {"0": {"position": [1]}}}')
    with pytest.raises(ValueError, match='Town_1.json: holds no "CineCameraActor" with position'):
        open_recording(folder)
