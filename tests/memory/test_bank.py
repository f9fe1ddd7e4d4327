import errno
import json

import pytest
import torch
from PIL import Image

from anchorweave.clip import Clip
from anchorweave.memory import Bank
from anchorweave.recordings import open_recording
from tests.rooms import walk


def test_what_goes_in_comes_out_to_rounding(tmp_path):
    clip = walk(3)
    bank = Bank(tmp_path / "bank")
    bank.append(clip)
    reopened = Bank(tmp_path / "bank")
    assert reopened.names == clip.names and len(reopened) == 3
    for i in range(3):
        torch.testing.assert_close(reopened.frame(i), clip.frames[i], atol=0.51 / 255, rtol=0)
        torch.testing.assert_close(
            reopened.depth(i), clip.depth[i], atol=0.51 * bank.depth_unit, rtol=0
        )
    assert torch.equal(reopened.cameras.c2w, clip.cameras.c2w)
    assert torch.equal(reopened.cameras.K, clip.cameras.K)


def test_a_bank_is_a_recording_that_other_tools_can_open(tmp_path):
    Bank(tmp_path).append(walk(3))
    meta = json.loads((tmp_path / "transforms.json").read_text())
    assert {"file_path", "depth_file_path", "transform_matrix", "fl_x"} <= set(meta["frames"][0])
    assert len(open_recording(tmp_path)) == 3


def test_depth_unit_leaves_room_and_what_is_farther_is_unknown(tmp_path):
    clip = walk(1)
    bank = Bank(tmp_path)
    bank.append(clip)
    farthest = clip.depth.max().item()
    assert farthest * 8 <= bank.depth_unit * 65534 <= farthest * 8 * 2.6
    far = clip.depth.clone()
    far[0, 0, 0] = bank.depth_unit * 70000
    bank.append(Clip(clip.frames, far, clip.cameras, clip.names))
    assert bank.depth(1)[0, 0] == 0 and bank.depth(1)[0, 1] > 0


def test_an_append_that_is_cut_off_loses_that_clip_only(tmp_path):
    bank = Bank(tmp_path)
    bank.append(walk(2))
    # Killed after some images, before the list was renamed; one of them is half a file.
    (tmp_path / "images" / "000002.png").write_bytes(b"\x89PNG half")
    (tmp_path / ".partial-1-transforms.json").write_text('{"frames": [')
    reopened = Bank(tmp_path)
    assert len(reopened) == 2
    third = walk(3)
    reopened.append(third)
    assert len(Bank(tmp_path)) == 5
    torch.testing.assert_close(Bank(tmp_path).frame(2), third.frames[0], atol=0.51 / 255, rtol=0)


def test_a_full_disk_leaves_the_bank_as_it_was(tmp_path, monkeypatch):
    bank = Bank(tmp_path)
    bank.append(walk(2))
    save, written = Image.Image.save, []

    def full(self, path, *args, **kwargs):
        written.append(path)
        if len(written) > 3:
            path.write_bytes(b"half a file")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(self, path, *args, **kwargs)

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="No space left"):
        bank.append(walk(4))
    monkeypatch.undo()
    assert len(bank) == 2 and len(Bank(tmp_path)) == 2
    assert not list(tmp_path.rglob(".partial*"))
    bank.append(walk(4))
    assert len(Bank(tmp_path)) == 6


def test_a_damaged_bank_is_named(tmp_path):
    Bank(tmp_path / "a").append(walk(2))
    (tmp_path / "a" / "transforms.json").write_text('{"frames": [')
    with pytest.raises(ValueError, match="transforms.json"):
        Bank(tmp_path / "a")
    Bank(tmp_path / "b").append(walk(2))
    (tmp_path / "b" / "images" / "000001.png").unlink()
    with pytest.raises(FileNotFoundError, match="1 of 2 frames"):
        Bank(tmp_path / "b")


def test_a_bank_of_another_version_is_named(tmp_path):
    Bank(tmp_path).append(walk(2))
    file = tmp_path / "transforms.json"
    meta = json.loads(file.read_text())
    assert meta["bank_version"] == 1
    file.write_text(json.dumps({**meta, "bank_version": 2}))
    with pytest.raises(ValueError, match="has layout 2, this code reads and writes layout 1"):
        Bank(tmp_path)
    del meta["bank_version"]
    file.write_text(json.dumps(meta))
    assert len(Bank(tmp_path)) == 2


def test_a_recording_without_depth_is_no_bank(tmp_path):
    Bank(tmp_path).append(walk(2))
    file = tmp_path / "transforms.json"
    meta = json.loads(file.read_text())
    for frame in meta["frames"]:
        del frame["depth_file_path"]
    file.write_text(json.dumps(meta))
    with pytest.raises(ValueError, match="without depth"):
        Bank(tmp_path)


def test_an_empty_bank_has_no_cameras(tmp_path):
    with pytest.raises(ValueError, match="is empty"):
        Bank(tmp_path / "new").cameras  # noqa: B018
