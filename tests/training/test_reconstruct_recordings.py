"""Many videos become recordings; what fails is named, what exists is kept."""

import json
from importlib.util import find_spec

import pytest
import torch

from anchorweave.datasets.fingerprint import FingerprintError
from anchorweave.recordings import open_recording
from anchorweave.recordings.search import find_footage, find_recordings
from anchorweave.video import write_video
from tests.evaluation.test_estimated_cameras import SIZE
from tests.recordings.reconstruction.test_reconstruct import FOCAL, photographs, walk
from tests.training.small_data import write_room
from training.reconstruct_recordings import main

CAMERAS = f"recording.intrinsics=[{FOCAL},{FOCAL},{SIZE[1] / 2},{SIZE[0] / 2}]"


def clip(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, torch.rand(2, 3, 16, 16))
    return path


def test_footage_is_found_at_any_depth_and_named_by_its_place(tmp_path):
    clip(tmp_path / "a" / "walk.mp4")
    clip(tmp_path / "a" / "more" / "walk.mp4")
    photographs(tmp_path / "photographs", torch.rand(3, 3, 16, 16))
    (tmp_path / "a" / "notes.md").write_text("none of it")
    (tmp_path / ".hidden").mkdir()
    found = find_footage(str(tmp_path))
    assert found == {
        "a-walk": str(tmp_path / "a" / "walk.mp4"),
        "a-more-walk": str(tmp_path / "a" / "more" / "walk.mp4"),
        "photographs": str(tmp_path / "photographs"),
    }
    one = str(tmp_path / "a" / "walk.mp4")
    assert find_footage([one]) == {"walk": one}


def test_what_has_cameras_is_left_out(tmp_path):
    write_room(tmp_path / "room", count=2)
    clip(tmp_path / "re10k" / "posed.mp4")
    line = "1000 0.5 0.9 0.5 0.5 0 0 1 0 0 0 0 1 0 0 0 0 1 0\n"
    (tmp_path / "re10k" / "posed.txt").write_text("https://youtube.com\n" + line)
    with pytest.raises(ValueError, match="0 videos .* without cameras"):
        find_footage(str(tmp_path))
    clip(tmp_path / "re10k" / "plain.mp4")
    assert list(find_footage(str(tmp_path))) == ["re10k-plain"]


def test_preparing_plain_videos_names_the_way(tmp_path):
    clip(tmp_path / "videos" / "walk.mp4")
    way = r"holds 1 video\(s\) .*: `bash scripts/reconstruct.sh source=.*videos output=data/recon"
    with pytest.raises(ValueError, match=way):
        find_recordings(str(tmp_path / "videos"))


@pytest.mark.skipif(find_spec("pycolmap") is None, reason="no pycolmap")
def test_good_ones_are_made_and_bad_ones_named(tmp_path, capsys):
    photographs(tmp_path / "good", walk()[0])
    photographs(tmp_path / "grey", torch.full((4, 3, *SIZE), 0.5))
    words = [f"source=[{tmp_path / 'good'},{tmp_path / 'grey'}]", f"output={tmp_path / 'made'}"]
    with pytest.raises(SystemExit) as ended:
        main([*words, CAMERAS])
    said = capsys.readouterr().out
    assert ended.value.code == 1 and "1 made, 0 existed, 1 failed" in said
    assert "failed: grey: " in said and "only 0 of 4 frames could be registered" in said
    made = open_recording(tmp_path / "made" / "good")
    assert len(made) == 9 and not (tmp_path / "made" / "grey").exists()
    again = [f"source={tmp_path / 'good'}", words[1]]
    main([*again, CAMERAS])
    assert "0 made, 1 existed, 0 failed" in capsys.readouterr().out
    with pytest.raises(FingerprintError, match=r"made/good .*\n.*options.motion: 0.03 there, 0.1"):
        main([*again, CAMERAS, "reconstruction.motion=0.1"])
    with pytest.raises(FingerprintError, match="recording.intrinsics"):
        main(again)
    record = json.loads((tmp_path / "made" / "good" / "reconstruction.json").read_text())
    assert record["recording"]["intrinsics"][0] == FOCAL


def test_a_folder_that_is_no_reconstruction_is_named(tmp_path, capsys):
    clip(tmp_path / "walk.mp4")
    (tmp_path / "made" / "walk").mkdir(parents=True)
    with pytest.raises(SystemExit):
        main([f"source={tmp_path / 'walk.mp4'}", f"output={tmp_path / 'made'}"])
    assert "made/walk exists, and is no reconstruction; remove it" in capsys.readouterr().out


def test_without_a_source_it_says_what_it_needs():
    with pytest.raises(ValueError, match="source= is missing: name a folder with videos"):
        main([])
