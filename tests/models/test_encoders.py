import pytest
import torch

from anchorweave.models.encoders import Encoders, set_tile
from anchorweave.models.tiny import TEXT_TOKENS, tiny_components, write_tiny
from tests.alike import alike


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "one"
    return write_tiny(path, seed=1, frames=5, size=(32, 64))


def test_a_folder_gives_its_own_networks(folder):
    encoders = Encoders(folder, 5, (32, 64))
    truth = tiny_components(seed=1, frames=5, size=(32, 64))
    tokenizer, encoder = encoders.text(torch.float32)
    tokens = tokenizer("a red room", return_tensors="pt").input_ids
    assert alike(encoder(tokens)[0], truth["text_encoder"](tokens)[0])
    weights, expected = encoders.vae(torch.float32).state_dict(), truth["vae"].state_dict()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert (encoders.text_tokens, encoders.patch_size) == (TEXT_TOKENS, 2)


def test_equal_weights_have_equal_names_and_others_other(folder, tmp_path):
    again = write_tiny(tmp_path / "again", seed=1, frames=5, size=(32, 64))
    other = write_tiny(tmp_path / "other", seed=2, frames=5, size=(32, 64))
    names = [
        (encoders.vae_weights, encoders.text_weights)
        for encoders in (Encoders(path, 5, (32, 64)) for path in (folder, again, other))
    ]
    assert names[0] == names[1] and not set(names[0]) & set(names[2])
    tiny, larger = Encoders("tiny", 5, (32, 64)), Encoders("tiny", 9, (64, 64))
    assert tiny.vae_weights == larger.vae_weights and tiny.text_weights == larger.text_weights


def test_no_model_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="no model at"):
        Encoders(tmp_path, 5, (32, 64))


def similarity(a, b):
    return torch.cosine_similarity(a.flatten(), b.flatten(), dim=0)


@torch.no_grad()
@pytest.mark.parametrize("size", [(32, 64), (96, 32), (48, 80)])
def test_tiles_give_latents_of_the_same_shape_that_mean_the_same(folder, size):
    vae = Encoders(folder, 5, size).vae(torch.float32)
    video = torch.rand(2, 3, 1, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    whole = vae.encode(video).latent_dist.mode()
    set_tile(vae, 32)
    tiled = vae.encode(video).latent_dist.mode()
    assert tiled.shape == whole.shape and not torch.allclose(tiled, whole, atol=1e-3)
    # A tile put down one latent beside its place would fit the shifted latents better.
    fit = similarity(tiled, whole)
    assert fit > 0.4
    for axis in (-1, -2):
        for by in (-1, 1):
            assert similarity(tiled, whole.roll(by, axis)) < 0.8 * fit
    set_tile(vae, None)
    assert alike(vae.encode(video).latent_dist.mode(), whole)


@pytest.mark.parametrize("tile", [0, 16, 40])
def test_a_tile_that_does_not_divide_is_refused(folder, tile):
    vae = Encoders(folder, 5, (32, 64)).vae(torch.float32)
    with pytest.raises(ValueError, match="multiple of 32"):
        set_tile(vae, tile)
