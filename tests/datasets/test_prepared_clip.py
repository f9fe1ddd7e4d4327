import json
import shutil

import numpy as np
import pytest
import torch

from anchorweave.datasets.layout import BadClip
from anchorweave.datasets.prepared_clip_reading import (
    read_anchors,
    read_cameras,
    read_caption,
    read_record,
    read_references,
    read_target,
)
from anchorweave.images import write_frame
from tests.datasets.small_clips import FRAMES, MADE, SIZE, SLOTS, UNIT, pixels, write_clip

CLOUDS = "anchors/local_clouds"


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("prepared"), "a", encoded=False)


@pytest.fixture
def copy(clip, tmp_path):
    return shutil.copytree(clip, tmp_path / "a")


def test_what_was_written_is_read(clip):
    known = pixels()
    assert (read_target(clip) - known.video).abs().mean() < 0.04
    assert read_caption(clip) == "a room, number 0"
    poses = read_cameras(clip)
    assert torch.equal(poses.cameras.c2w, known.cameras.c2w) and poses.cameras.size == SIZE
    assert torch.equal(poses.cameras.K, known.cameras.K) and poses.unit == UNIT
    truth = known.retrieved["local_clouds"]
    assert torch.equal(poses.target2source["local_clouds"], truth.anchors.target2source)
    assert torch.equal(poses.target2first, truth.target2first)
    record = read_record(clip)
    assert record["made"] == MADE and record["frames"] == list(known.frame_names)
    report = json.loads((clip / "report.json").read_text())["local_clouds"]
    assert report[0]["pool"] == 3 and report[0]["picks"][0]["name"] == "room 2"


def test_anchors_are_black_wherever_nothing_was_seen(clip):
    anchors, truth = read_anchors(clip, "local_clouds"), pixels().retrieved["local_clouds"].anchors
    assert anchors.video.shape == (SLOTS, FRAMES, 3, *SIZE)
    assert torch.equal(anchors.visible, truth.visible)
    assert not anchors.video[(~anchors.visible)[:, :, None].expand_as(anchors.video)].any()
    assert (anchors.video - truth.video).abs().mean() < 0.04


def test_references_come_back_as_they_were(clip):
    truth = pixels().retrieved["local_clouds"].references
    assert (read_references(clip, "local_clouds") - truth.frames).abs().max() <= 0.5 / 255 + 1e-6
    poses = read_cameras(clip).reference2first["local_clouds"]
    assert torch.equal(poses, truth.reference2first) and len(poses) == 2


def test_references_that_are_missing_cut_or_of_another_size(copy):
    frame = copy / "references/local_clouds/001.png"
    write_frame(torch.zeros(3, 16, 16), frame)
    with pytest.raises(BadClip, match=r"001.png is \(16, 16\) .* not \(32, 64\)"):
        read_references(copy, "local_clouds")
    cut(frame)
    with pytest.raises(BadClip, match="001.png cannot be read"):
        read_references(copy, "local_clouds")
    frame.unlink()
    with pytest.raises(BadClip, match="001.png"):
        read_references(copy, "local_clouds")
    with pytest.raises(BadClip, match="no poses for the references of other"):
        read_references(copy, "other")


def cut(path, share=0.5):
    stored = path.read_bytes()
    path.write_bytes(stored[: int(len(stored) * share)])


def broken_poses(clip):
    with np.load(clip / "cameras.npz") as stored:
        arrays = dict(stored)
    arrays["c2w"][1, 0, 3] = np.nan
    np.savez(clip / "cameras.npz", **arrays)


@pytest.mark.parametrize(
    "damage, read, message",
    [
        (lambda c: cut(c / "video.mp4"), read_target, "video.mp4 cannot be read"),
        (lambda c: (c / "video.mp4").unlink(), read_target, "video.mp4 is missing"),
        (lambda c: (c / "captions/caption.txt").unlink(), read_caption, "caption.txt is missing"),
        (lambda c: (c / "captions/caption.txt").write_text(" \n"), read_caption, "txt is empty"),
        (lambda c: cut(c / "cameras.npz"), read_cameras, "cameras.npz cannot be read"),
        (broken_poses, read_cameras, "not finite: c2w"),
        (lambda c: cut(c / "clip.json"), read_record, "clip.json cannot be read"),
        (lambda c: (c / "clip.json").write_text("{}"), read_record, "clip.json cannot be read"),
        (lambda c: cut(c / CLOUDS / "visible.npz"), None, "visible.npz cannot be read"),
        (lambda c: cut(c / CLOUDS / "anchor_1.mp4"), None, "anchor_1.mp4 cannot be read"),
        (lambda c: (c / CLOUDS / "anchor_0.mp4").unlink(), None, "anchor_0.mp4 is missing"),
    ],
)
def test_damage_is_a_bad_clip_that_names_the_part(copy, damage, read, message):
    damage(copy)
    read = read or (lambda c: read_anchors(c, "local_clouds"))
    with pytest.raises(BadClip, match=message) as caught:
        read(copy)
    assert caught.value.path == copy


def test_anchors_of_a_memory_that_was_not_prepared(clip):
    with pytest.raises(BadClip, match="no poses for the anchors of global_cloud"):
        read_anchors(clip, "global_cloud")
