from collections import Counter

import pytest
from safetensors.torch import load_file
from torch.utils.data import Dataset

from anchorweave.datasets.encoded_clip import read_made, write_tensors
from anchorweave.datasets.latent_clips import LatentClips
from anchorweave.datasets.mixture import Mixture, open_mixture
from tests.datasets.small_clips import write_clip


class Numbers(Dataset):
    """A data set of which only the clips' numbers matter."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count


def mixture(shares, **sizes):
    return Mixture({name: Numbers(size) for name, size in sizes.items()}, shares)


def test_three_to_one_in_every_round_and_an_epoch_passes_the_longer_set_once():
    mixed = mixture({"dl3dv": 3, "re10k": 1}, dl3dv=12, re10k=3)
    places = [mixed.locate(i) for i in range(len(mixed))]
    assert len(mixed) == 12 * 4 // 3
    for start in range(0, len(mixed), 4):
        assert Counter(name for name, _ in places[start : start + 4]) == {"dl3dv": 3, "re10k": 1}
    visits = Counter(places)
    assert all(visits["dl3dv", i] == 1 for i in range(12))
    assert sorted(visits["re10k", i] for i in range(3)) == [1, 1, 2]


@pytest.mark.parametrize("shares", [{"a": 1, "b": 1}, {"a": 5, "b": 2}, {"a": 1, "b": 7}])
@pytest.mark.parametrize("sizes", [{"a": 1, "b": 9}, {"a": 10, "b": 3}, {"a": 4, "b": 4}])
def test_every_clip_is_visited_and_evenly(shares, sizes):
    mixed = mixture(shares, **sizes)
    visits = Counter(mixed.locate(i) for i in range(len(mixed)))
    for name, size in sizes.items():
        counts = [visits[name, i] for i in range(size)]
        assert min(counts) >= 1 and max(counts) - min(counts) <= 1
        assert sum(counts) * sum(shares.values()) == shares[name] * len(mixed)


def test_sets_alternate_within_a_round():
    mixed = mixture({"a": 2, "b": 2}, a=2, b=2)
    assert [mixed.locate(i) for i in range(4)] == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]


def test_what_cannot_be_mixed_is_refused():
    with pytest.raises(ValueError, match="shares .* got {'b': 0}"):
        mixture({"a": 1, "b": 0}, a=1, b=1)
    with pytest.raises(ValueError, match="from b: 0 clips"):
        mixture({"a": 1, "b": 1}, a=1, b=0)
    with pytest.raises(ValueError, match=r"mixture of \['a'\] came with shares for \['c'\]"):
        mixture({"c": 1}, a=1)
    with pytest.raises(IndexError):
        mixture({"a": 1}, a=2).locate(2)


def test_folders_are_opened_by_their_shares(tmp_path):
    for name, count in (("many", 2), ("few", 1)):
        for i in range(count):
            write_clip(tmp_path / name, f"clip_{i}", seed=i)
    mixed = open_mixture({str(tmp_path / "many"): 3, str(tmp_path / "few"): 1})
    names = [mixed[i].name for i in range(len(mixed))]
    assert len(mixed) == 4 and sum("few" in name for name in names) == 1
    assert isinstance(mixed.sets[str(tmp_path / "few")], LatentClips)
    assert "3 of 4 samples, 2 clips, each 1.50 times" in mixed.describe()[0]


def test_the_holes_of_every_set_are_told_by_the_first_clip_that_can_be_read(tmp_path):
    for name in ("a", "b"):
        write_clip(tmp_path / name, "clip_0")
        write_clip(tmp_path / name, "clip_1")
    for clip in ("clip_0", "clip_1"):
        path = tmp_path / "b" / clip / "latents.safetensors"
        tensors, made = load_file(path), read_made(path)
        write_tensors(path, tensors, {**made, "holes": "filled"})
    roots = {str(tmp_path / name): 1 for name in ("a", "b")}
    assert list(open_mixture(roots).holes().values()) == ["black", "filled"]
    (tmp_path / "b" / "clip_0" / "latents.safetensors").write_bytes(b"cut")
    assert list(open_mixture(roots).holes().values()) == ["black", "filled"]
