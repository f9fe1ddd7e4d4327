import pytest
import torch

from anchorweave.models.encoders import Encoders
from anchorweave.models.small.tiny import TEXT_TOKENS, tiny_components, write_tiny
from tests.alike import alike


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "one"
    return write_tiny(path, seed=1, frames=5, size=(32, 64))


def test_a_folder_gives_its_own_networks(folder):
    encoders = Encoders(folder, 5, (32, 64))
    truth = tiny_components(seed=1, frames=5, size=(32, 64))
    text = encoders.text(torch.float32)
    tokenizer, encoder = text.tokenizer, text.encoder
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
