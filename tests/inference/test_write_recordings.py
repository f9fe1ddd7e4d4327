import pytest
import torch

from anchorweave.models.small.tiny import TEXT_TOKENS, tiny_tokenizer
from anchorweave.recordings import open_recording
from inference.write_recordings import main

ROOM = "procedural:seed=3,frames=2,size=16x24"


def test_it_writes_a_recording_that_opens(tmp_path, capsys):
    main([f"source={ROOM}", f"output={tmp_path / 'room'}"])
    written, room = open_recording(tmp_path / "room"), open_recording(ROOM)
    torch.testing.assert_close(written.frame(1), room.frame(1), atol=0.5 / 255 + 1e-6, rtol=0)
    torch.testing.assert_close(written.depth(1), room.depth(1), atol=0.51e-3, rtol=0)
    torch.testing.assert_close(written.cameras.c2w, room.cameras.c2w)
    assert written.caption() == room.caption()
    # The tiny text encoder reads all of it.
    assert len(tiny_tokenizer()(written.caption()).input_ids) <= TEXT_TOKENS
    assert "2 frames of 16x24" in capsys.readouterr().out


def test_several_become_a_folder_each_once(tmp_path, capsys):
    words = [
        "source=procedural:seed=3..4,frames=1,size=32x48",
        f"output={tmp_path}",
        "size=[16,24]",
    ]
    main([*words, "images=jpg"])
    folders = sorted(path for path in tmp_path.iterdir())
    assert [len(open_recording(folder)) for folder in folders] == [1, 1]
    assert (folders[0] / "images/000000.jpg").is_file()
    assert open_recording(folders[0]).cameras.size == (16, 24)
    capsys.readouterr()
    main([*words, "images=jpg"])
    assert capsys.readouterr().out.count("exists already") == 2


def test_an_unknown_word_is_named(tmp_path):
    with pytest.raises(ValueError, match="colour"):
        main([f"output={tmp_path / 'room'}", "colour=3"])
    assert not list(tmp_path.iterdir())
