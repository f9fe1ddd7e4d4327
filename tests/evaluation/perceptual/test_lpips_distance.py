from pathlib import Path

import pytest
import torch
import torchmetrics
import torchmetrics.functional.image.lpips as reference
from torch import nn

from anchorweave.evaluation.perceptual.lpips_distance import (
    FILES,
    SMALLEST,
    _alexnet,
    _vgg16,
    load_lpips,
    lpips,
)
from anchorweave.evaluation.perceptual.samples import NotMeasuredError
from tests.evaluation.perceptual.small import noise, sample

TRUNKS = {"alex": _alexnet, "vgg": _vgg16}
CALIBRATED = Path(torchmetrics.__file__).parent / "functional/image/lpips_models"


def random_trunk(network):
    """Of the layers' true shapes, with the names of torchvision's file."""
    torch.manual_seed(0)
    layers = nn.Sequential(*TRUNKS[network]())
    weights = {f"features.{name}": value for name, value in layers.state_dict().items()}
    return layers, weights | {"classifier.1.weight": torch.zeros(2, 2)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("weights")
    torch.save(random_trunk("alex")[1], place / FILES["alex"])
    return place


def ours(network):
    linear = torch.load(CALIBRATED / f"{network}.pth", map_location="cpu", weights_only=True)
    return lpips(network, random_trunk(network)[1], linear)


@pytest.mark.parametrize("network", ["alex", "vgg"])
def test_numbers_are_those_of_torchmetrics_with_the_same_layers(network, monkeypatch):
    layers, _ = random_trunk(network)
    monkeypatch.setattr(reference, "_get_tv_model_features", lambda *_, **__: layers)
    theirs = reference._NoTrainLpips(net=network)
    one, other = noise((2, 3, 40, 36), 0), noise((2, 3, 40, 36), 1)
    expected = theirs(one, other, normalize=True).flatten()
    assert torch.allclose(ours(network)(one, other), expected, rtol=1e-5)
    assert expected.min() > 1e-3


def test_equal_images_have_no_distance_and_it_grows():
    distance, image = ours("alex"), noise((1, 3, 40, 40), 0)
    assert distance(image, image).item() == 0
    near, far = (distance(image, (image + by).clamp(0, 1)).item() for by in (0.05, 0.5))
    assert 0 < near < far


@pytest.mark.parametrize("network", ["alex", "vgg"])
def test_the_smallest_side_is_the_smallest_that_works(network):
    distance, side = ours(network), SMALLEST[network]
    image = noise((1, 3, side, side), 0)
    assert distance(image, 1 - image).isfinite().all()
    with pytest.raises(RuntimeError):
        distance(image[..., :-1, :-1], image[..., :-1, :-1])


def test_a_video_is_measured_from_frame_1_on_and_around_its_loop(folder):
    one = sample(0, frames=20, size=(32, 40), returns=True)
    free = sample(1, frames=3, size=(32, 40), truth=False, returns=True)
    found = load_lpips(folder, "alex", "cpu")([one, free])
    by_hand = [ours("alex")(one.video[t : t + 1], one.truth[t : t + 1]) for t in range(1, 20)]
    values = found["clip0", 0]
    assert values["lpips"] == pytest.approx(torch.cat(by_hand).mean().item(), rel=1e-5)
    around = ours("alex")(one.video[-1:], one.video[:1]).item()
    assert values["lpips_loop"] == pytest.approx(around, rel=1e-5)
    assert list(found["clip1", 0]) == ["lpips_loop"]


def test_bad_input_is_named(folder, tmp_path):
    with pytest.raises(NotMeasuredError, match="videos of 16x40; lpips needs 31 pixels"):
        load_lpips(folder, "alex", "cpu")([sample(0, size=(16, 40))])
    with pytest.raises(NotMeasuredError, match="vgg16-397923af.pth is not there; get it from"):
        load_lpips(folder, "vgg", "cpu")
    (tmp_path / FILES["alex"]).write_bytes(b"")
    with pytest.raises(NotMeasuredError, match="cannot be read as weights"):
        load_lpips(tmp_path, "alex", "cpu")
    torch.save([1], tmp_path / FILES["alex"])
    with pytest.raises(NotMeasuredError, match="holds not weights but list"):
        load_lpips(tmp_path, "alex", "cpu")
    torch.save(random_trunk("alex")[1], tmp_path / FILES["vgg"])
    with pytest.raises(NotMeasuredError, match="weights of another network"):
        load_lpips(tmp_path, "vgg", "cpu")
