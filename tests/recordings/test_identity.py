"""A recording is known by its content, not by its name or place."""

import pytest

from anchorweave.images import write_frame
from anchorweave.recordings import open_recording
from anchorweave.recordings.identity import content_of
from anchorweave.recordings.nerfstudio import write_recording
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


@pytest.mark.parametrize("change", [other_picture, other_depth, caption])
def test_other_content_is_another_recording(room, change):
    before = content(room)
    change(room)
    assert content(room) != before
