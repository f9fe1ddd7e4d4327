import pytest
import torch

from anchorweave.recordings import open_recording
from tests.training.small_data import write_room
from training.preparing.captions import CaptionConfig, make_caption

CPU = torch.device("cpu")
FRAMES = torch.zeros(1, 3, 32, 64)


def test_a_sidecar_lies_in_the_folder_or_beside_the_file(tmp_path):
    room = write_room(tmp_path / "room", count=2, caption="  a kitchen \n")
    caption = make_caption(CaptionConfig(), CPU)
    assert caption(open_recording(room), [0], FRAMES) == "a kitchen"
    cameras = tmp_path / "x.txt"
    cameras.write_text("1000 0.5 0.9 0.5 0.5 0 0 1 0 0 0 0 1 0 0 0 0 1 0\n")
    # As in inference: no words.
    assert caption(open_recording(cameras), [0], FRAMES) == ""
    (tmp_path / "x.caption.txt").write_text("a garden")
    assert caption(open_recording(cameras), [0], FRAMES) == "a garden"
    (room / "caption.txt").write_text("\n")
    with pytest.raises(ValueError, match="caption.txt is empty"):
        caption(open_recording(room), [0], FRAMES)


def test_one_text_for_all(tmp_path):
    room = open_recording(write_room(tmp_path / "room", count=2, caption=None))
    config = CaptionConfig(kind="text", text="rooms")
    assert make_caption(config, CPU)(room, [0], FRAMES) == "rooms"
    assert config.made() == {"caption.kind": "text", "caption.text": "rooms"}


@pytest.mark.parametrize(
    "options", [{"kind": "text"}, {"kind": "model"}, {"text": "unused"}, {"frames": 4}]
)
def test_a_kind_comes_with_what_it_needs_and_nothing_else(options):
    with pytest.raises(ValueError, match="belongs to caption.kind"):
        CaptionConfig(**options)


def test_clips_depend_on_what_a_model_is_asked(tmp_path):
    asked = CaptionConfig(kind="model", model="a/name", question="what?", frames=4)
    assert asked.made() == CaptionConfig(kind="model", model="a/name").made() | {
        "caption.question": "what?",
        "caption.frames": "4",
    }


def test_a_model_that_is_not_here_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="captioning model .* cannot be loaded"):
        make_caption(CaptionConfig(kind="model", model=str(tmp_path)), CPU)


def test_a_clip_takes_the_words_of_its_stretch(tmp_path):
    room = write_room(tmp_path / "room", count=4, caption="a flat")
    (room / "captions.txt").write_text("0_1\ta door\n2_2\ta bed\n")
    caption, recording = make_caption(CaptionConfig(), CPU), open_recording(room)
    said = [caption(recording, frames, FRAMES) for frames in ([0, 1, 2], [2, 3], [3])]
    assert said == ["a door", "a bed", "a flat"]
