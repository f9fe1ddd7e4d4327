"""Every command that writes into a folder is told of another run that works there."""

from importlib.util import find_spec

import pytest

from anchorweave.images import write_frame
from anchorweave.locks import FolderInUseError, in_use, making
from anchorweave.memory import Bank
from anchorweave.recordings.nerfstudio import write_recording
from inference import (
    compare_geometry,
    compare_runs,
    edit_memory,
    evaluate,
    measure_extras,
    reconstruct,
    write_recordings,
)
from tests.datasets.small_clips import write_clip
from tests.rooms import walk
from training import doctor, make_model

# Nothing is read before the folder is held, so what they are asked for need not be there.
AT_ONCE = {
    evaluate: [],
    measure_extras: ["metrics=[lpips]"],
    compare_runs: ["one=a", "other=b"],
    compare_geometry: [],
}


@pytest.mark.parametrize("command", AT_ONCE, ids=lambda command: command.__name__)
def test_a_folder_of_results(command, tmp_path):
    words = [*AT_ONCE[command], f"output={tmp_path / 'out'}"]
    with in_use(tmp_path / "out"), pytest.raises(FolderInUseError, match="out is in use by"):
        command.main(words)
    assert not (tmp_path / "out").exists()


def test_a_data_set_that_is_being_made(tmp_path):
    write_clip(tmp_path, "a", encoded=False)
    with in_use(tmp_path), pytest.raises(FolderInUseError, match="in use by"):
        doctor.main([f"data={tmp_path}"])
    assert not (tmp_path / "quarantine.json").exists()
    doctor.main([f"data={tmp_path}"])
    assert (tmp_path / "quarantine.json").is_file()


def making_something(tmp_path):
    """Command -> what it makes a folder from."""
    clip = walk(3)
    Bank(tmp_path / "bank").append(clip)
    write_recording(clip, tmp_path / "recording")
    (tmp_path / "photographs").mkdir()
    for i, frame in enumerate(clip.frames):
        write_frame(frame, tmp_path / "photographs" / f"{i}.png")
    box = "edits=[{remove: {box: {centre: [0, 0, 2], size: [1, 1, 1]}}}]"
    return {
        edit_memory: [f"memory.path={tmp_path / 'bank'}", box],
        write_recordings: [f"source={tmp_path / 'recording'}"],
        reconstruct: [f"source={tmp_path / 'photographs'}"],
        make_model: [],
    }


def test_a_folder_that_appears_whole(tmp_path):
    for command, words in making_something(tmp_path).items():
        if command is reconstruct and find_spec("pycolmap") is None:
            continue
        with making(tmp_path / "out"):
            with pytest.raises(FolderInUseError, match=r"\.out\.making is in use by"):
                command.main([*words, f"output={tmp_path / 'out'}"])
            assert not (tmp_path / "out").exists()
