"""What is removed of a folder, and above all what is not."""

import json

import pytest

from anchorweave.memory import Bank
from anchorweave.memory.removal import remove_bank
from anchorweave.recordings.nerfstudio import write_recording
from tests.rooms import walk


def contents(folder):
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def memory(tmp_path):
    Bank(tmp_path / "memory").append(walk(3))
    return tmp_path / "memory"


def test_a_bank_is_removed_with_what_an_ended_run_left_in_it(memory):
    (memory / ".partial-12-transforms.json").write_text("{")
    (memory / "images" / ".partial-12-000003.png").write_bytes(b"\x89PNG")
    remove_bank(memory)
    assert not memory.exists()
    remove_bank(memory)


def test_a_bank_whose_first_frames_never_came_is_removed(tmp_path):
    clip = walk(1)
    clip.cameras.K[:] = 0
    with pytest.raises(ValueError, match="intrinsics"):
        Bank(tmp_path / "memory").append(clip)
    assert list((tmp_path / "memory/images").iterdir())
    remove_bank(tmp_path / "memory")
    assert not (tmp_path / "memory").exists()


def test_an_empty_folder_is_removed(tmp_path):
    (tmp_path / "memory/images").mkdir(parents=True)
    remove_bank(tmp_path / "memory")
    assert not (tmp_path / "memory").exists()


def users_notes(memory):
    (memory / "notes.txt").write_text("mine")


def users_picture(memory):
    (memory / "images" / "holiday.png").write_bytes(b"mine")


def users_folder(memory):
    (memory / "depth" / "000009.png").mkdir()


@pytest.mark.parametrize("put, named", [
    (users_notes, "notes.txt"), (users_picture, "holiday.png"), (users_folder, "000009.png"),
])  # fmt: skip
def test_what_a_user_put_beside_a_bank_is_named_and_nothing_is_removed(memory, put, named):
    put(memory)
    before = contents(memory)
    with pytest.raises(ValueError, match=f"holds .*{named} besides.*nothing in it is removed"):
        remove_bank(memory)
    assert contents(memory) == before


def unmarked(folder):
    folder.mkdir()
    (folder / "diary.txt").write_text("mine")


def recording(folder):
    write_recording(walk(3), folder)


def file(folder):
    folder.write_text("mine")


def link(folder):
    unmarked(folder.parent / "elsewhere")
    folder.symlink_to(folder.parent / "elsewhere")


@pytest.mark.parametrize("make", [unmarked, recording, file, link])
def test_what_does_not_say_that_it_is_a_bank_stays(tmp_path, make):
    make(tmp_path / "memory")
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="another output="):
        remove_bank(tmp_path / "memory")
    assert contents(tmp_path) == before


def test_a_bank_from_before_they_said_so_stays(memory):
    listed = memory / "transforms.json"
    meta = json.loads(listed.read_text())
    listed.write_text(json.dumps({k: v for k, v in meta.items() if k != "bank_version"}))
    with pytest.raises(ValueError, match="nothing in it is removed"):
        remove_bank(memory)
    assert len(Bank(memory)) == 3
