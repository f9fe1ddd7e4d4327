import json
import pickle
from tokenize import TokenError

import pytest
from torch.utils.data import DataLoader, Dataset

from anchorweave.datasets.layout import (
    BadClip,
    prepared_clips,
    read_quarantine,
    reading,
    remove_unfinished,
    write_quarantine,
)


def folder(path, *files):
    path.mkdir(parents=True)
    for file in files:
        (path / file).write_text("{}")
    return path


def test_clips_are_listed_by_name_without_what_is_being_written(tmp_path):
    for name in ("b", "a", ".partial-7-c"):
        folder(tmp_path / name, "clip.json")
    folder(tmp_path / "no_clip")
    assert [clip.name for clip in prepared_clips(tmp_path)] == ["a", "b"]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda root: None, "0 clips, because there is no such folder"),
        (lambda root: folder(root), "looked for folders with clip.json, found no folders at all"),
        (lambda root: folder(root / "images"), "found folders without it .images.*recording"),
        (lambda root: folder(root / ".partial-1-a", "clip.json"), "only 1 unfinished clips"),
        (lambda root: folder(root, "clip.json"), "this is one clip"),
        (lambda root: folder(root, "train.txt"), "released layout"),
    ],
)
def test_no_clips_says_why(tmp_path, make, message):
    make(tmp_path / "root")
    with pytest.raises(ValueError, match=message):
        prepared_clips(tmp_path / "root")


def test_quarantine_is_read_as_it_was_written(tmp_path):
    assert read_quarantine(tmp_path) == {}
    write_quarantine(tmp_path, {"b": "why", "a": "because"})
    assert list(read_quarantine(tmp_path).items()) == [("a", "because"), ("b", "why")]
    (tmp_path / "quarantine.json").write_text("[1]")
    with pytest.raises(ValueError, match="expected keys and values, got list"):
        read_quarantine(tmp_path)


def test_what_an_ended_run_left_is_removed_and_nothing_else(tmp_path):
    folder(tmp_path / ".partial-12-a", "x")
    (tmp_path / ".partial-13-a").write_text("")
    folder(tmp_path / ".partial-12-b")
    # Another clip's, which another process may be writing.
    folder(tmp_path / ".partial-12-other-a")
    folder(tmp_path / ".partial-12-7-a")
    folder(tmp_path / "a")
    remove_unfinished(tmp_path / "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".partial-12-7-a",
        ".partial-12-b",
        ".partial-12-other-a",
        "a",
    ]


@pytest.mark.parametrize(
    "error", [FileNotFoundError("f"), OSError("o"), KeyError("k"), EOFError(), TokenError("t")]
)
def test_whatever_cannot_be_read_names_clip_and_part(tmp_path, error):
    with pytest.raises(BadClip, match="poses.npz") as caught, reading(tmp_path, "poses.npz"):
        raise error
    assert caught.value.path == tmp_path and "poses.npz" in caught.value.reason


class Broken(Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise BadClip("/data/a clip: with colon", "latents are\ncut: off")


def test_a_bad_clip_stays_one_across_the_processes_of_a_loader():
    with pytest.raises(BadClip) as caught:
        next(iter(DataLoader(Broken(), num_workers=1)))
    assert "/data/a clip" in str(caught.value.path) and "cut: off" in str(caught.value)


def test_json_of_this_layout_is_readable_by_others(tmp_path):
    write_quarantine(tmp_path, {"a": "why"})
    assert json.loads((tmp_path / "quarantine.json").read_text()) == {"a": "why"}
    again = pickle.loads(pickle.dumps(BadClip("/data/a", "why: so")))
    assert str(again.path) == "/data/a" and again.reason == "why: so"
