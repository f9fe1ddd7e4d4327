import sys
from types import ModuleType

import pytest
import torch

from anchorweave.evaluation.perceptual.match_accuracy import (
    DINO,
    FILE,
    load_match_accuracy,
    match_accuracy,
)
from anchorweave.evaluation.perceptual.samples import NotMeasuredError
from tests.evaluation.perceptual.small import sample


class Matcher:
    """Is sure of pixels of equal colour; answers as RoMa does: first image's pixels | second's."""

    def match(self, first, second, device=None):
        one, other = (torch.tensor(list(image.getdata())).float() for image in (first, second))
        sure = 0.9 - (one - other).abs().sum(dim=1).clamp(max=0.9)
        certainty = sure.reshape(1, first.height, first.width)
        # The other direction is sure everywhere, and must not count.
        both = torch.cat([certainty, torch.ones_like(certainty)], dim=2)
        return torch.zeros(*both.shape, 4), both


def test_it_is_the_share_of_the_first_frame_that_is_found_again():
    video = torch.rand(4, 3, 8, 10, generator=torch.Generator().manual_seed(0))
    video[-1] = video[0]
    assert match_accuracy(Matcher(), video, 0.5, "cpu") == 1
    video[-1, :, :, :3] = 1 - video[-1, :, :, :3].round()
    assert match_accuracy(Matcher(), video, 0.5, "cpu") == pytest.approx(0.7)
    # A matcher that is never surer than 0.9 does not match even the frame itself.
    assert match_accuracy(Matcher(), video, 0.95, "cpu") is None


@pytest.fixture
def roma(monkeypatch, tmp_path):
    """Stands for the package: keeps what it was called with."""
    package = ModuleType("romatch")
    calls = []

    def roma_outdoor(device, weights=None, dinov2_weights=None, use_custom_corr=True):
        calls.append((device, weights, dinov2_weights, use_custom_corr))
        return Matcher()

    package.roma_outdoor = roma_outdoor
    monkeypatch.setitem(sys.modules, "romatch", package)
    torch.save({"w": torch.ones(1)}, tmp_path / FILE)
    torch.save({"d": torch.zeros(1)}, tmp_path / DINO)
    return calls


def test_roma_is_given_both_files_so_that_it_downloads_neither(roma, tmp_path):
    measure = load_match_accuracy(tmp_path, 0.5, "cpu")
    [(device, weights, dino, custom)] = roma
    assert device == torch.device("cpu") and custom is False
    assert weights == {"w": torch.ones(1)} and dino == {"d": torch.zeros(1)}
    found = measure([sample(0, returns=True), sample(0, seed=1, returns=True)])
    assert set(found) == {("clip0", 0), ("clip0", 1)}
    assert 0 <= found["clip0", 0]["match_accuracy"] < 0.1


def test_a_path_that_does_not_return_is_not_measured(roma, tmp_path):
    with pytest.raises(NotMeasuredError, match="does not end where it began"):
        load_match_accuracy(tmp_path, 0.5, "cpu")([sample(0)])


def test_what_is_missing_is_named(roma, tmp_path, monkeypatch):
    (tmp_path / DINO).unlink()
    with pytest.raises(NotMeasuredError, match=f"{DINO} is not there; get it from"):
        load_match_accuracy(tmp_path, 0.5, "cpu")
    monkeypatch.setitem(sys.modules, "romatch", None)
    with pytest.raises(NotMeasuredError, match="romatch cannot be imported.*requirements-eval.txt"):
        load_match_accuracy(tmp_path, 0.5, "cpu")
