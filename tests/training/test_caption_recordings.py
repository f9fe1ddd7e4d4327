import re
from pathlib import Path

import pytest
import torch

import training.caption_recordings as module
from anchorweave.models.captioner import Captioner
from anchorweave.recordings import open_recording, write_recording
from tests.rooms import walk
from training.preparing.caption_table import caption_in


class Counts(Captioner):
    """In the model's place: says how bright the frames are that it is shown."""

    def __init__(self, model, device, question=None, frames=None):
        self.name = model

    def looks_at(self, count):
        return [0, count - 1]

    def describe(self, shown):
        return " ".join(f"{round(frame.mean().item() * 100)}" for frame in shown)


@pytest.fixture
def room(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "Captioner", Counts)
    clip = walk(7)
    clip.frames[:] = torch.arange(7)[:, None, None, None] / 10
    write_recording(clip, tmp_path / "room")
    return tmp_path / "room"


def test_each_stretch_gets_words_of_its_own(room, capsys):
    module.main([f"source={room.parent}", "model=any", "every=3"])
    # The seventh frame is less than half a stretch.
    assert (room / "captions.txt").read_text() == "0_2\t0 20\n3_6\t30 60\n"
    assert open_recording(room).caption([4, 5]) == "30 60"
    assert f"{room / 'captions.txt'}: 2 captions" in capsys.readouterr().out
    (room / "captions.txt").write_text("0_6\tmine\n")
    module.main([f"source={room}", "model=any", "every=3"])
    assert "skipped" in capsys.readouterr().out
    assert (room / "captions.txt").read_text() == "0_6\tmine\n"


def test_stretches_hold_all_frames(room):
    told = module.caption_recording(open_recording(room), Counts("any", None), 4)
    assert [(one.first, one.last) for one in told] == [(0, 3), (4, 6)]
    told = module.caption_recording(open_recording(room), Counts("any", None), 100)
    assert [(one.first, one.last) for one in told] == [(0, 6)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "model= is missing: name a folder .*git-base-vatex"),
        (["model=any", "frames=0"], "frames"),
        (["model=any", "every=0"], "every=0: a stretch must have"),
        (["model=any", "table=captions.csv"], "captions come from one of them"),
        (["table=captions.csv", "frames=4"], "frames=4 is for model=, not for table="),
        (["table=nowhere.csv"], "nowhere.csv: no such file"),
        (["model=any", "source=procedural:seed=1"], "rendered on the fly"),
    ],
)
def test_a_mistake_is_one_message(words, said, capsys):
    with pytest.raises(SystemExit) as ended:
        module.COMMAND.run(words)
    told = capsys.readouterr().err
    assert ended.value.code == 2 and re.search(said, told) and "Traceback" not in told


TABLE = """index,video_id,short_caption,dense_caption,,
000000008783_AJp-000114,AJp,cars,"Cars, and
people.",,
room,x,a room,,,
"""


def test_a_data_sets_table_captions_recordings_by_their_names(tmp_path, capsys):
    for name in ("000000008783_AJp-000114", "room", "other"):
        write_recording(walk(2), tmp_path / "walks" / name)
    table = tmp_path / "captions.csv"
    table.write_text(TABLE)
    asked = [f"source={tmp_path / 'walks'}", f"table={table}"]
    module.main(asked)
    assert "1 captions written, 0 existed, 2 recordings are not in" in capsys.readouterr().out
    assert open_recording(tmp_path / "walks/000000008783_AJp-000114").caption() == (
        "Cars, and people."
    )
    assert open_recording(tmp_path / "walks/room").caption() is None
    module.main([*asked, "column=short_caption"])
    assert "1 captions written, 1 existed" in capsys.readouterr().out
    assert open_recording(tmp_path / "walks/room").caption() == "a room"
    with pytest.raises(
        ValueError, match="names none of 1 recordings, such as other; it names 0000"
    ):
        module.main(asked)
    with pytest.raises(ValueError, match="no column 'name'; it has index, video_id, short_capt"):
        module.main([*asked, "key=name"])
    table.write_text("index,dense_caption\nroom,one\nroom,two\n")
    with pytest.raises(ValueError, match="line 3: a second caption of room"):
        module.main(asked)


def test_megasam_and_others_name_a_file_after_its_clip():
    captions = {"clip": "words"}
    for name in ("clip.npz", "clip_sgd_cvd_hr.npz"):
        assert caption_in(captions, Path("x") / name) == "words"
    assert caption_in(captions, Path("clips.npz")) is None
