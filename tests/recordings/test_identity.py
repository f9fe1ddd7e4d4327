"""A recording is known by its content, not by its name or place."""

import json

import pytest
import torch

from anchorweave.images import write_frame
from anchorweave.recordings import open_recording
from anchorweave.recordings.identity import content_of
from anchorweave.recordings.nerfstudio import write_recording
from anchorweave.video import write_video
from tests.rooms import walk


@pytest.fixture
def room(tmp_path):
    write_recording(walk(3), tmp_path / "room")
    return tmp_path / "room"


def content(folder):
    return content_of(open_recording(folder))


def test_it_is_the_same_elsewhere(room, tmp_path):
    before = content(room)
    write_recording(walk(3), tmp_path / "elsewhere" / "other")
    assert content(tmp_path / "elsewhere" / "other") == before


def other_picture(room):
    write_frame(1 - walk(3).frames[1], room / "images" / "000001.png")


def other_depth(room):
    (room / "depth/000000.png").write_bytes((room / "depth/000002.png").read_bytes())


def caption(room):
    (room / "caption.txt").write_text("a room")


def other_unit(room):
    file = room / "transforms.json"
    meta = json.loads(file.read_text())
    file.write_text(json.dumps({**meta, "depth_unit_scale_factor": 0.002}))


@pytest.mark.parametrize("change", [other_picture, other_depth, other_unit, caption])
def test_other_content_is_another_recording(room, change):
    before = content(room)
    change(room)
    assert content(room) != before


def test_masks_and_videos_are_content(room, tmp_path):
    file = room / "transforms.json"
    meta = json.loads(file.read_text())
    for i, entry in enumerate(meta["frames"]):
        entry["mask_path"] = f"mask_{i}.png"
        write_frame(torch.ones_like(walk(3).frames[0]), room / entry["mask_path"])
    file.write_text(json.dumps(meta))
    before = content(room)
    write_frame(torch.zeros_like(walk(3).frames[0]), room / "mask_1.png")
    assert content(room) != before

    cameras = tmp_path / "walk.txt"
    lines = [f"{i * 125000} 0.5 0.8 0.5 0.5 0 0 1 0 0 {i} 0 1 0 0 0 0 1 0" for i in range(3)]
    cameras.write_text("\n".join(lines))
    write_video(tmp_path / "walk.mp4", torch.zeros(4, 3, 32, 48))
    before = content(cameras)
    write_video(tmp_path / "walk.mp4", torch.ones(4, 3, 32, 48))
    assert content(cameras) != before


def test_a_caption_may_be_left_out(room):
    before = content_of(open_recording(room), captioned=False)
    caption(room)
    assert content_of(open_recording(room), captioned=False) == before
