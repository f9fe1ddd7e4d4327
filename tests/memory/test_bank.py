import errno
import json
import os

import pytest
import torch
from PIL import Image

from anchorweave.clip import Clip
from anchorweave.memory import Bank
from anchorweave.recordings import open_recording
from anchorweave.recordings.nerfstudio import write_recording
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


def as_version_1(folder, **meta):
    """Rewrites a bank as earlier versions wrote them: indented, without sums."""
    file = folder / "transforms.json"
    there = json.loads(file.read_text())
    for frame in there["frames"]:
        del frame["sums"]
    unit = there["depth_unit_scale_factor"]
    file.write_text(
        json.dumps({**meta, "depth_unit_scale_factor": unit, "frames": there["frames"]}, indent=1)
    )


def test_a_bank_of_another_version_is_named(tmp_path):
    Bank(tmp_path).append(walk(2))
    file = tmp_path / "transforms.json"
    meta = json.loads(file.read_text())
    assert meta["bank_version"] == 2
    file.write_text(json.dumps({**meta, "bank_version": 3}))
    with pytest.raises(ValueError, match="has layout 3, but this code reads layouts 1 and 2"):
        Bank(tmp_path)


@pytest.mark.parametrize("meta", [{}, {"bank_version": 1}])
def test_a_bank_of_version_1_opens_and_becomes_one_of_version_2(tmp_path, meta):
    clip = walk(5)
    Bank(tmp_path).append(clip[:2])
    as_version_1(tmp_path, **meta)
    before = (tmp_path / "transforms.json").read_bytes()
    old = Bank(tmp_path)
    assert len(old) == 2 and old.unsummed == 2 and old.names == clip.names[:2]
    old.frame(1), old.depth(1)
    # To read it changes nothing.
    assert (tmp_path / "transforms.json").read_bytes() == before
    old.append(clip[2:3])
    old.append(clip[3:])
    new = Bank(tmp_path)
    assert json.loads((tmp_path / "transforms.json").read_text())["bank_version"] == 2
    assert len(new) == 5 and new.unsummed == 2 and new.names == clip.names
    assert torch.equal(new.cameras.c2w, clip.cameras.c2w)
    assert len(open_recording(tmp_path)) == 5


def test_an_append_adds_a_line_and_composes_no_other_anew(tmp_path, monkeypatch):
    bank = Bank(tmp_path)
    bank.append(walk(6))
    before = (tmp_path / "transforms.json").read_bytes()
    dumps, composed = json.dumps, []

    def counted(value, *args, **kwargs):
        composed.append(value)
        return dumps(value, *args, **kwargs)

    monkeypatch.setattr(json, "dumps", counted)
    monkeypatch.setattr(json, "loads", None)
    bank.append(walk(2))
    monkeypatch.undo()
    # Each of the two for its sum, then for the list.
    assert len(composed) == 4
    after = (tmp_path / "transforms.json").read_bytes()
    tail = b"\n]}\n"
    assert after.startswith(before.removesuffix(tail)) and after.count(b"\n") == 4
    assert len(Bank(tmp_path)) == len(json.loads(after)["frames"]) == 8


def test_grown_and_opened_again_it_is_the_same(tmp_path):
    clip, bank = walk(6), Bank(tmp_path)
    for part in (clip[:3], clip[3:4], clip[4:]):
        bank.append(part)
    again = Bank(tmp_path)
    assert again.names == bank.names and again.depth_unit == bank.depth_unit
    # To the sign of zeros.
    for one in ("c2w", "K"):
        values = getattr(again.cameras, one), getattr(bank.cameras, one)
        assert values[0].numpy().tobytes() == values[1].numpy().tobytes()
    assert all(torch.equal(again.depth(i), bank.depth(i)) for i in range(6))


def test_whoever_reads_while_another_appends_finds_the_list_before_or_after(tmp_path, monkeypatch):
    bank, seen = Bank(tmp_path), []
    bank.append(walk(2))
    replace = os.replace

    def looked_at(one, other):
        seen.append(len(Bank(tmp_path)))
        replace(one, other)
        seen.append(len(Bank(tmp_path)))

    monkeypatch.setattr(os, "replace", looked_at)
    bank.append(walk(3))
    assert set(seen) == {2, 5} and seen == sorted(seen) and seen[-1] == 5


def test_two_that_add_to_one_bank_do_not_lose_frames_without_a_word(tmp_path):
    Bank(tmp_path).append(walk(2))
    one, other = Bank(tmp_path), Bank(tmp_path)
    one.append(walk(3))
    with pytest.raises(ValueError, match="by another run since this one opened"):
        other.append(walk(4))
    assert len(Bank(tmp_path)) == 5 and not Bank(tmp_path).problems()


def test_the_list_of_another_program_is_not_added_to(tmp_path):
    Bank(tmp_path).append(walk(2))
    file = tmp_path / "transforms.json"
    file.write_text(json.dumps(json.loads(file.read_text()), indent=2))
    bank = Bank(tmp_path)
    with pytest.raises(ValueError, match="written by another program"):
        bank.append(walk(2))
    assert len(Bank(tmp_path)) == 2


@pytest.mark.parametrize("kind, read", [("images", "frame"), ("depth", "depth")])
def test_pictures_that_are_swapped_or_flipped_are_found(tmp_path, kind, read):
    bank = Bank(tmp_path)
    bank.append(walk(3))
    one, other = tmp_path / kind / "000000.png", tmp_path / kind / "000002.png"
    one.write_bytes(other.read_bytes())
    with pytest.raises(ValueError, match="000000.png is not the picture that was remembered"):
        getattr(Bank(tmp_path), read)(0)
    getattr(bank, read)(1), getattr(bank, read)(2)
    assert len(bank.problems()) == 1 and bank.unsummed == 0


@pytest.mark.parametrize("part", ["frames", "depth"])
def test_what_is_not_finite_is_not_remembered(tmp_path, part):
    clip, bank = walk(2), Bank(tmp_path)
    bank.append(clip)
    getattr(clip, part)[1, ..., 0, 0] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        bank.append(clip)
    assert len(bank) == len(Bank(tmp_path)) == 2
    bank.append(walk(1))


def test_pictures_outside_the_folder_are_refused(tmp_path):
    Bank(tmp_path / "bank").append(walk(2))
    picture = tmp_path / "bank/images/000001.png"
    picture.rename(tmp_path / "elsewhere.png")
    picture.symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(ValueError, match="points outside the bank's folder"):
        Bank(tmp_path / "bank")


def test_a_recording_with_depth_is_no_bank(tmp_path):
    write_recording(walk(3), tmp_path / "room", suffix=".jpg")
    with pytest.raises(ValueError, match="is a recording, not a memory bank"):
        Bank(tmp_path / "room")


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


def test_pictures_that_are_not_compressed_are_the_same_pictures(tmp_path):
    clip = walk(2)
    packed, loose = Bank(tmp_path / "packed"), Bank(tmp_path / "loose", packed=False)
    for bank in (packed, loose):
        bank.append(clip)
    for i in range(2):
        assert torch.equal(packed.frame(i), loose.frame(i))
        assert torch.equal(packed.depth(i), loose.depth(i))
    sizes = [(bank.path / "images/000000.png").stat().st_size for bank in (packed, loose)]
    assert sizes[0] < sizes[1]
    assert sizes[1] >= 3 * clip.frames[0, 0].numel()
