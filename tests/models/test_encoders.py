import pytest
import torch

from anchorweave.datasets.fingerprint import weights_digest
from anchorweave.models.encoders import (
    backbone_settings,
    load_text_encoder,
    model_folder,
    set_tile,
)
from anchorweave.models.loading import ModelParts
from anchorweave.models.tiny import TEXT_TOKENS, tiny_components


@pytest.fixture(scope="module")
def folder():
    with model_folder("tiny", 5, (32, 64)) as path:
        yield path


def test_the_tiny_model_is_the_same_every_time(folder):
    with model_folder("tiny", 5, (32, 64)) as again:
        for part in ("vae", "text_encoder", "tokenizer"):
            assert weights_digest(again / part) == weights_digest(folder / part)
    assert not again.exists()
    assert backbone_settings(folder) == (TEXT_TOKENS, 2)


def test_the_text_encoder_is_the_one_of_the_folder(folder):
    tokenizer, encoder = load_text_encoder(folder, torch.float32)
    tokens = tokenizer("a red room", return_tensors="pt").input_ids
    truth = tiny_components(frames=5, size=(32, 64))["text_encoder"]
    assert torch.equal(encoder(tokens)[0], truth(tokens)[0])


def test_no_model_is_said(tmp_path):
    with (
        pytest.raises(FileNotFoundError, match="no model at"),
        model_folder(str(tmp_path), 5, (32, 64)),
    ):
        pass


def similarity(a, b):
    return torch.cosine_similarity(a.flatten(), b.flatten(), dim=0)


@torch.no_grad()
@pytest.mark.parametrize("size", [(32, 64), (96, 32), (80, 176)])
def test_tiles_give_latents_of_the_same_shape_that_mean_the_same(folder, size):
    vae = ModelParts(folder, 5, size).vae(torch.float32)
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
            assert similarity(tiled, whole.roll(by, axis)) < 0.6 * fit
    set_tile(vae, None)
    assert torch.equal(vae.encode(video).latent_dist.mode(), whole)


@pytest.mark.parametrize("tile", [0, 16, 40])
def test_a_tile_that_does_not_divide_is_refused(folder, tile):
    vae = ModelParts(folder, 5, (32, 64)).vae(torch.float32)
    with pytest.raises(ValueError, match="multiple of 32"):
        set_tile(vae, tile)
