import numpy as np
import pytest

from anchorweave.recordings.procedural_rooms import photographs
from anchorweave.recordings.procedural_rooms.rooms import PHOTOGRAPHED
from anchorweave.recordings.procedural_rooms.textures import SIDE


@pytest.mark.parametrize("pattern", PHOTOGRAPHED.values())
def test_a_pattern_depends_on_the_seed_alone_and_stays_in_range(pattern):
    first, again = (pattern(np.random.default_rng(5)) for _ in range(2))
    other = pattern(np.random.default_rng(6))
    assert first.shape == (SIDE, SIDE, 3)
    assert first.min() >= 0 and first.max() <= 1 and first.std() > 0.02
    assert np.array_equal(first, again) and not np.allclose(first, other)


@pytest.mark.parametrize("pattern", [photographs.bricks, photographs.foliage])
def test_repeats_without_a_seam(pattern):
    """Across the border colours change no more than inside."""
    texture = pattern(np.random.default_rng(0))
    for axis in (0, 1):
        inside = np.abs(np.diff(texture, axis=axis)).mean()
        across = np.abs(np.take(texture, 0, axis) - np.take(texture, -1, axis)).mean()
        assert across <= inside


def test_a_tinted_photograph_has_the_mean_it_was_given():
    base = np.array([0.5, 0.4, 0.3])
    mean = photographs._tinted("gravel.png", base).mean(axis=(0, 1))
    assert np.allclose(mean, base, atol=0.02)


def test_every_picture_is_there_and_shows_something():
    for name in photographs.PICTURES:
        assert photographs.photograph(name).std() > 0.03


def test_scikit_image_that_is_not_there_is_named(monkeypatch):
    photographs.photograph.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "skimage", None)
    monkeypatch.setitem(__import__("sys").modules, "skimage.data", None)
    with pytest.raises(ModuleNotFoundError, match="skimage"):
        photographs.photograph("coffee.png")
