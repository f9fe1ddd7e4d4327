import importlib.util

import pytest
import torch
from torch import nn

from anchorweave.evaluation.perceptual import shift_tolerant
from anchorweave.evaluation.perceptual.samples import NotMeasuredError, load_tensors
from anchorweave.evaluation.perceptual.shift_tolerant import (
    FILE,
    PACKAGE,
    SMALLEST,
    TAPS,
    load_shift_tolerant,
    shift_tolerant_lpips,
)
from tests.evaluation.perceptual.small import noise, sample


def tensors():
    """Random ones with the names of the package's file."""
    torch.manual_seed(0)
    layers = nn.Sequential(*shift_tolerant._alexnet())
    found = {"scaling_layer.shift": torch.zeros(1, 3, 1, 1)}
    for name, value in layers.state_dict().items():
        part = next(s for s, end in enumerate(TAPS) if int(name.split(".")[0]) <= end)
        found[f"net.slice{part + 1}.{name}"] = value
    for number, tap in enumerate(TAPS):
        before = [m.out_channels for m in layers[: tap + 1] if isinstance(m, nn.Conv2d)]
        found[f"lin{number}.model.1.weight"] = torch.rand(1, before[-1], 1, 1)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("weights")
    torch.save(tensors(), place / FILE)
    return place


@pytest.mark.skipif(importlib.util.find_spec(PACKAGE) is None, reason="no stlpips-pytorch here")
def test_numbers_are_those_that_the_package_prints(tmp_path):
    # `LPIPS(net="alex", variant="shift_tolerant")(one, other, normalize=True)` of 0.0.2.
    across = torch.linspace(0, 1, 64)[None].expand(48, 64)
    down = torch.linspace(0, 1, 48)[:, None].expand(48, 64)
    one = torch.stack([across, down, (across * 6).sin() / 2 + 0.5])[None]
    found = shift_tolerant._weights(tmp_path)
    distance = shift_tolerant_lpips(load_tensors(found, "cpu"))
    for other, expected in ((one.roll(1, -1), 0.0106688), (one.flip(1), 0.6998360)):
        assert distance(one, other).item() == pytest.approx(expected, rel=1e-4)  # rounding


def test_equal_images_have_no_distance_and_it_grows():
    distance = shift_tolerant_lpips(tensors())
    image = noise((1, 3, 64, 64), 0)
    assert distance(image, image).item() == 0
    near, far = (distance(image, (image + by).clamp(0, 1)).item() for by in (0.05, 0.5))
    assert 0 < near < far


def test_a_blur_halves_and_keeps_what_is_even():
    blur = shift_tolerant.Blur(2)
    image = torch.ones(1, 2, 9, 12) * torch.tensor([1.0, 3.0])[:, None, None]
    small = blur(image)
    assert small.shape == (1, 2, 6, 7)
    assert torch.allclose(small, image[..., :6, :7], rtol=1e-6)  # sums of nine weights


def test_the_smallest_side_is_the_smallest_that_works():
    distance = shift_tolerant_lpips(tensors())
    image = noise((1, 3, SMALLEST, SMALLEST), 0)
    assert distance(image, 1 - image).isfinite().all()
    with pytest.raises(RuntimeError):
        distance(image[..., :-1, :-1], image[..., :-1, :-1])


def test_videos_have_two_columns(folder):
    found = load_shift_tolerant(folder, "cpu")([sample(0, size=(32, 40), returns=True)])
    values = found["clip0", 0]
    assert list(values) == ["stlpips", "stlpips_loop"] and min(values.values()) > 0


def test_bad_input_is_named(folder, tmp_path, monkeypatch):
    with pytest.raises(NotMeasuredError, match=f"videos of 8x40; stlpips needs {SMALLEST} pixels"):
        load_shift_tolerant(folder, "cpu")([sample(0, size=(8, 40))])
    monkeypatch.setattr(shift_tolerant, "PACKAGE", "no_such_package")
    with pytest.raises(NotMeasuredError, match="pip install --no-deps stlpips-pytorch"):
        load_shift_tolerant(tmp_path, "cpu")
    torch.save({"net.slice1.0.weight": torch.zeros(1)}, tmp_path / FILE)
    with pytest.raises(NotMeasuredError, match="weights of another network"):
        load_shift_tolerant(tmp_path, "cpu")
