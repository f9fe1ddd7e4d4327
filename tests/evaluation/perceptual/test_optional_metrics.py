from pathlib import Path

import pytest
import torch

from anchorweave.evaluation.perceptual import (
    fid,
    fvd,
    lpips_distance,
    match_accuracy,
    shift_tolerant,
)
from anchorweave.evaluation.perceptual.optional_metrics import (
    OPTIONAL_METRICS,
    PerceptualConfig,
    chosen_metrics,
)
from anchorweave.evaluation.perceptual.samples import NotMeasuredError

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", OPTIONAL_METRICS)
def test_every_metric_says_in_one_line_what_is_not_there(name, tmp_path, monkeypatch):
    monkeypatch.setattr(shift_tolerant, "PACKAGE", "not_installed")
    config = PerceptualConfig(weights=str(tmp_path), device="cpu")
    with pytest.raises(NotMeasuredError) as met:
        OPTIONAL_METRICS[name].load(config)
    assert "\n" not in str(met.value) and len(str(met.value)) > 30


@pytest.mark.parametrize(
    "names, message",
    [
        (
            ["lpips", "fdi", "is"],
            "unknown metrics fdi, is; known: lpips, stlpips, fid, fvd, vbench",
        ),
        ([], "name one or more of lpips, stlpips"),
    ],
)
def test_unknown_metrics_name_the_known_ones(names, message):
    with pytest.raises(ValueError, match=message):
        chosen_metrics(names)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"device": "gpu"}, "device=gpu is none of auto"),
        ({"match_confidence": 1.0}, "match_confidence=1.0"),
    ],
)
def test_bad_options_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        PerceptualConfig(**values)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_named():
    assert PerceptualConfig().on() == "cpu"
    with pytest.raises(ValueError, match="no CUDA GPU"):
        PerceptualConfig(device="cuda").on()


def test_the_page_about_weights_names_every_file_and_its_address():
    text = (ROOT / "pretrained" / "README.md").read_text()
    files = [shift_tolerant.FILE, fid.FILE, fvd.FILE, match_accuracy.FILE, match_accuracy.DINO]
    files += [fid.SOURCE, match_accuracy.SOURCE, match_accuracy.DINO_SOURCE, lpips_distance.SOURCE]
    for name in (*files, *lpips_distance.FILES.values(), fvd.SOURCE.split()[0]):
        assert name in text, name
