"""With a package of VBench's interface in a Python process of its own, as in the real case."""

import sys

import pytest

from anchorweave.evaluation.perceptual.samples import NotMeasuredError
from anchorweave.evaluation.perceptual.vbench_axes import AXES, FILES, load_vbench
from tests.evaluation.perceptual.small import sample

# Axis number / 10 for the first video, and 1/100 more for each further one; and it checks what
# VBench would download otherwise.
PACKAGE = """
import json, os
from pathlib import Path

class VBench:
    def __init__(self, device, full_info_dir, output_path):
        assert device.type == "cpu" and full_info_dir.endswith("VBench_full_info.json")
        self.output = Path(output_path)

    def evaluate(self, videos_path, name, prompt_list=[], dimension_list=None, local=False,
                 read_frame=False, mode="vbench_standard", **kwargs):
        assert local and mode == "custom_input"
        assert kwargs == {"imaging_quality_preprocessing_mode": "longer"}
        hub = Path(os.environ["TORCH_HOME"], "hub/checkpoints/dino_vitbase16_pretrain.pth")
        assert hub.is_file()
        assert Path(os.environ["VBENCH_CACHE_DIR"], "amt_model/amt-s.pth").is_file()
        videos = sorted(Path(videos_path).iterdir())[SKIPPED:]
        assert all(v.suffix == ".mp4" and v.stat().st_size > 500 for v in videos)
        results = {}
        for number, axis in enumerate(dimension_list, start=1):
            top = 100 if axis == "imaging_quality" else 1
            each = [
                {"video_path": str(v), "video_results": top * (number / 10 + i / 100)}
                for i, v in enumerate(videos)
            ]
            results[axis] = [0.0, each]
        (self.output / f"{name}_eval_results.json").write_text(json.dumps(results))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "packages").mkdir()
    # All that VBench's process takes of torch itself; importing the whole costs seconds.
    torch = "class device:\n    def __init__(self, type):\n        self.type = type\n"
    (tmp_path / "packages" / "torch.py").write_text(torch)
    (tmp_path / "packages" / "vbench.py").write_text(PACKAGE.replace("SKIPPED", "0"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))
    for name in FILES:
        (tmp_path / "vbench" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "vbench" / name).touch()
    return tmp_path


def test_every_video_gets_its_six_axes_and_their_mean(folder):
    measure = load_vbench(folder, sys.executable, "cpu")
    found = measure([sample(1), sample(0, seed=3)])
    assert set(found) == {("clip1", 0), ("clip0", 3)}
    for further, values in enumerate(found.values()):
        expected = {axis: (i + 1) / 10 + further / 100 for i, axis in enumerate(AXES)}
        total = sum(expected.values()) / 6
        assert values == pytest.approx(expected | {"total": total})


def test_a_video_that_vbench_passes_over_is_not_passed_over_here(folder):
    (folder / "packages" / "vbench.py").write_text(PACKAGE.replace("SKIPPED", "1"))
    with pytest.raises(NotMeasuredError, match="no subject_consistency for 1 of the videos"):
        load_vbench(folder, None, "cpu")([sample(0), sample(1)])


def test_its_last_words_are_the_reason(folder):
    (folder / "packages" / "vbench.py").write_text("VBench = None")
    with pytest.raises(NotMeasuredError, match="TypeError: 'NoneType'.*VBench's own code"):
        load_vbench(folder, None, "cpu")([sample(0)])


def test_what_is_missing_is_named(folder, monkeypatch):
    with pytest.raises(NotMeasuredError, match="no/python cannot be run.*requirements-eval.txt"):
        load_vbench(folder, "no/python", "cpu")
    (folder / "vbench" / "amt_model" / "amt-s.pth").unlink()
    with pytest.raises(NotMeasuredError, match="amt-s.pth is not there; get it from https://hugg"):
        load_vbench(folder, None, "cpu")
    (folder / "packages" / "vbench.py").write_text("raise ImportError('no torchvision')")
    with pytest.raises(NotMeasuredError, match="ImportError: no torchvision.*requirements-eval"):
        load_vbench(folder, None, "cpu")
