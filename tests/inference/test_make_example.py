import pytest

from anchorweave.models.tiny import TEXT_TOKENS, tiny_tokenizer
from anchorweave.recordings import open_recording
from inference.make_example import main


def test_it_writes_a_recording_that_opens(tmp_path, capsys):
    main([f"output={tmp_path / 'room'}", "seed=3", "frames=2", "size=16x24"])
    recording = open_recording(tmp_path / "room")
    assert len(recording) == 2 and recording.has_depth and recording.cameras.size == (16, 24)
    caption = (tmp_path / "room/caption.txt").read_text()
    # The tiny text encoder reads all of it.
    assert len(tiny_tokenizer()(caption).input_ids) <= TEXT_TOKENS
    assert "2 frames of 16x24" in capsys.readouterr().out


@pytest.mark.parametrize("word", ["colour=3", "seed", "--help"])
def test_unknown_words_are_named(tmp_path, word):
    with pytest.raises(SystemExit, match=word.split("=")[0]):
        main([f"output={tmp_path / 'room'}", word])
    assert not list(tmp_path.iterdir())
