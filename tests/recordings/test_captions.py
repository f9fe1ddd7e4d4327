import pytest

from anchorweave.recordings import open_recording, write_recording
from anchorweave.recordings.captions import Stretch, caption_of, read_stretches, write_stretches
from tests.rooms import walk

STRETCHES = [Stretch(0, 4, "a door"), Stretch(5, 9, "a bed, a lamp")]


def test_frames_take_the_stretch_that_holds_most_of_them():
    assert caption_of(STRETCHES, range(3, 8)) == "a bed, a lamp"
    assert caption_of(STRETCHES, [4, 5]) == "a door"
    assert caption_of(STRETCHES, [12]) is None and caption_of([], [0]) is None


def test_what_is_written_is_read(tmp_path):
    file = tmp_path / "captions.txt"
    file.write_text(write_stretches([*STRETCHES, Stretch(10, 10, "a\nwindow")]))
    assert read_stretches(file) == [*STRETCHES, Stretch(10, 10, "a window")]


@pytest.mark.parametrize(
    ("text", "said"),
    [("0_4 a\n4_2 b\n", "line 2: expected FIRST_LAST"), ("a door\n", "line 1"), ("\n", "is empty")],
)
def test_lines_that_are_none(tmp_path, text, said):
    (tmp_path / "captions.txt").write_text(text)
    with pytest.raises(ValueError, match=said):
        read_stretches(tmp_path / "captions.txt")


def test_a_recording_with_both(tmp_path):
    write_recording(walk(3), tmp_path / "room")
    recording = open_recording(tmp_path / "room")
    assert recording.caption([0]) is None and recording.stretches() == []
    (tmp_path / "room" / "captions.txt").write_text("0_0\tthe door\n1_1\tthe bed\n")
    # The first words stand for the whole, but for a text of its own.
    assert recording.caption() == "the door" and recording.caption([1, 2]) == "the bed"
    assert recording.caption([2]) is None
    (tmp_path / "room" / "caption.txt").write_text("a room")
    assert recording.caption() == "a room" and recording.caption([1]) == "the bed"
    assert recording.caption([2]) == "a room"
