"""The command that finds cameras: what it prints, and one message for a user's mistake."""

from importlib.util import find_spec

import pytest
import torch

from anchorweave.recordings import open_recording
from inference.reconstruct import COMMAND, main
from tests.evaluation.test_estimated_cameras import SIZE
from tests.recordings.reconstruction.test_reconstruct import FOCAL, photographs, walk

pytestmark = pytest.mark.skipif(find_spec("pycolmap") is None, reason="no pycolmap")


def test_it_prints_what_it_found_and_how_to_open_it(tmp_path, capsys):
    folder, output = photographs(tmp_path / "photographs", walk()[0]), tmp_path / "made"
    K = f"[{FOCAL},{FOCAL},{SIZE[1] / 2},{SIZE[0] / 2}]"
    main([f"source={folder}", f"output={output}", f"recording.intrinsics={K}"])
    said = capsys.readouterr().out
    assert "registered 9 of 9 frames" in said and "reprojection error 0." in said
    assert f"source={output} opens it" in said
    assert len(open_recording(output)) == 9


def test_a_mistake_is_one_message(tmp_path, capsys):
    folder = photographs(tmp_path / "grey", torch.full((4, 3, *SIZE), 0.5))
    with pytest.raises(SystemExit) as ended:
        COMMAND.run([f"source={folder}", f"output={tmp_path / 'made'}"])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and "Traceback" not in said
    assert "only 0 of 4 frames could be registered" in said and "blank" in said
    assert not (tmp_path / "made").exists()


def test_without_a_source_it_says_what_it_needs(capsys):
    with pytest.raises(SystemExit) as ended:
        COMMAND.run([])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and "Traceback" not in said
    assert "source= is missing: give a video, as in source=walk.mp4, or a folder" in said
