"""Readers that are registered from outside the package open, are found and are remembered."""

import numpy as np
import pytest
import torch

from anchorweave.geometry.cameras import intrinsics
from anchorweave.images import write_frame
from anchorweave.memory import Bank
from anchorweave.recordings import FILE_FORMATS, FOLDER_FORMATS, open_recording
from anchorweave.recordings.search import find_recordings
from tests.recordings import toy
from tests.recordings.contract import check_reader
from tests.recordings.test_rgbd import scannet as scannet  # noqa: PLC0414
from tests.recordings.test_rgbd import seven_scenes as seven_scenes  # noqa: PLC0414
from tests.recordings.test_rgbd import tum as tum  # noqa: PLC0414


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(FOLDER_FORMATS, "walk.csv (a toy)", toy.FOLDER)
    monkeypatch.setitem(FILE_FORMATS, toy.SUFFIX, toy.FILE)


@pytest.fixture
def folder(tmp_path):
    folder, lines = tmp_path / "walks" / "first", []
    folder.mkdir(parents=True)
    for i in range(3):
        write_frame(torch.full((3, 16, 24), i / 4), folder / f"{i}.png")
        pose = torch.eye(4)
        pose[0, 3] = 0.1 * i
        numbers = [20.0, 20.0, 12.0, 8.0, *pose.flatten().tolist()]
        lines.append(" ".join([f"{i}.png", *map(str, numbers)]))
    (folder / toy.LIST).write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def file(tmp_path):
    c2w = np.tile(np.eye(4), (2, 1, 1))
    c2w[1, 0, 3] = 0.1
    values = {
        "frames": np.full((2, 3, 16, 24), 128, dtype=np.uint8),
        "depth": np.full((2, 16, 24), 2.0, dtype=np.float32),
        "c2w": c2w,
        "K": np.tile(intrinsics(20.0, 20.0, 12.0, 8.0).numpy(), (2, 1, 1)),
    }
    path = tmp_path / "walks" / f"second{toy.SUFFIX}"
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as out:
        np.savez(out, **values)
    return path


def test_a_folder_keeps_the_contract(folder):
    recording = check_reader(folder)
    assert recording.frame(2).mean().item() == pytest.approx(0.5, abs=1 / 255)
    (folder / "1.png").unlink()
    with pytest.raises(FileNotFoundError, match="1 of 3.*1.png"):
        open_recording(folder)
    assert open_recording(folder, missing="skip").names == ("0.png", "2.png")


def test_a_file_keeps_the_contract_and_is_remembered(file, tmp_path):
    recording = check_reader(file)
    bank = Bank(tmp_path / "memory")
    bank.append(recording.clip([0, 1]))
    torch.testing.assert_close(bank.frame(1), recording.frame(1), atol=1 / 255, rtol=0)
    torch.testing.assert_close(bank.cameras.c2w, recording.cameras.c2w)


def test_both_are_found_below_a_folder(folder, file):
    files = folder.parent / "files"
    files.mkdir()
    file = file.rename(files / file.name)
    (files / "notes.txt").write_text("no recording\n")
    found = find_recordings(str(folder.parent))
    assert found == {"first": str(folder), "files-second": str(file)}


def test_messages_name_them(tmp_path):
    with pytest.raises(ValueError, match=r"is empty; looked for .*walk.csv \(a toy\)"):
        open_recording(tmp_path)
    (tmp_path / "a.txt").write_text("hello\n")
    with pytest.raises(ValueError, match=r"is neither .* nor a file of .*\.walk"):
        open_recording(tmp_path / "a.txt")


@pytest.mark.parametrize("format", ["seven_scenes", "tum", "scannet"])
def test_readers_of_the_package_keep_the_contract(request, format):
    check_reader(request.getfixturevalue(format))
