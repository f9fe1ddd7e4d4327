"""SpatialVID's layout, written from a room whose cameras are known."""

import json

import numpy as np
import pytest
import torch

from anchorweave.recordings import open_recording
from anchorweave.recordings.search import find_recordings
from anchorweave.video import write_video
from tests.recordings.colmap_projects import _pose
from tests.rooms import walk

T, ID = 5, "0a00f99d-9d9a"
ANNOTATED = [0, 2, 4]


@pytest.fixture(scope="module")
def room():
    return walk(T)


def sparse(mask):
    return {
        "data": np.ones(int(mask.sum()), np.uint8),
        "indices": np.nonzero(mask)[1],
        "indptr": np.concatenate([[0], mask.sum(1).cumsum()]),
    }


@pytest.fixture
def root(tmp_path, room):
    folder = tmp_path / "annotations" / "group_0001" / ID
    folder.mkdir(parents=True)
    (tmp_path / "videos" / "group_0001").mkdir(parents=True)
    write_video(tmp_path / "videos" / "group_0001" / f"{ID}.mp4", room.frames)
    rows = []
    for c2w in room.cameras.recorded_c2w[ANNOTATED]:
        w, x, y, z, *at = _pose(c2w)
        rows.append([*at, x, y, z, w])
    np.save(folder / "poses.npy", np.array(rows, np.float32))
    K = room.cameras.K[ANNOTATED].numpy()
    shares = np.stack([K[:, 0, 0], K[:, 1, 1], K[:, 0, 2], K[:, 1, 2]], 1) / [32, 24, 32, 24]
    np.save(folder / "intrinsics.npy", shares)
    lines = [f"{i} {frame}" for i, frame in enumerate(ANNOTATED)]
    (folder / "indexes.txt").write_text("\n".join(lines) + "\n")
    masks = {"shape": np.array([12, 16])}
    for i in range(len(ANNOTATED)):
        moving = np.zeros((12, 16), bool)
        moving[i, 3:5] = True
        masks |= {f"f_{i}_{part}": values for part, values in sparse(moving).items()}
    np.savez(folder / "dyn_masks.npz", **masks)
    (folder / "caption.json").write_text(json.dumps({"SceneSummary": " a room ", "LLM": "x"}))
    return tmp_path


def test_the_annotated_frames_of_a_clip(root, room):
    (name, path), *others = find_recordings(str(root)).items()
    assert not others and ID in name
    recording = open_recording(path)
    assert recording.names == ("000000", "000002", "000004") and not recording.has_depth
    assert recording.caption() == "a room"
    clip = recording.clip(range(3))
    assert torch.allclose(clip.cameras.c2w, room.cameras.c2w[ANNOTATED], atol=1e-5)
    assert torch.allclose(clip.cameras.K, room.cameras.K[ANNOTATED], atol=1e-3)
    # A video's colours are rounded and share chroma.
    assert (clip.frames - room.frames[ANNOTATED]).abs().mean() < 0.05
    moving = (~clip.static).nonzero()
    # The masks have half the size, and each pixel serves four.
    expected = [[i, y, x] for i in range(3) for y in (2 * i, 2 * i + 1) for x in range(6, 10)]
    assert moving.tolist() == expected


def test_what_is_missing_or_wrong_is_named(root):
    folder = root / "annotations" / "group_0001" / ID
    (folder / "indexes.txt").write_text("0 0\n1 2\n2 9\n")
    with pytest.raises(FileNotFoundError, match="1 of 3 frames.*000009: .*mp4 has 5 frames"):
        open_recording(folder)
    recording = open_recording(folder, missing="skip")
    assert recording.names == ("000000", "000002")
    (folder / "dyn_masks.npz").write_bytes(b"none")
    with pytest.raises(ValueError, match="dyn_masks.npz: holds no mask of row 0"):
        recording.static(0)
    (folder / "caption.json").write_text("[]")
    with pytest.raises(ValueError, match="caption.json: is not a SpatialVID caption.json"):
        recording.caption()
    (folder / "indexes.txt").write_text("0 0\n2 2\n")
    with pytest.raises(ValueError, match='indexes.txt: expected lines "i frame"'):
        open_recording(folder)
    (folder / "indexes.txt").write_text("0 0\n1 2\n")
    with pytest.raises(ValueError, match="3 poses, 3 intrinsics and 2 lines"):
        open_recording(folder)
    (folder / "indexes.txt").unlink()
    with pytest.raises(FileNotFoundError, match="get_index.py writes this file"):
        open_recording(folder)
    np.save(folder / "poses.npy", np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"poses.npy: holds \[3, 4\] numbers, expected \[N, 7\]"):
        open_recording(folder)
    (root / "videos" / "group_0001" / f"{ID}.mp4").unlink()
    with pytest.raises(FileNotFoundError, match="the clip's video is neither .*mp4 in it nor"):
        open_recording(folder)
