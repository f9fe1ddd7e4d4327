"""Clips of one model's encoders do not train beside another's."""

import pytest
import torch

from anchorweave.datasets.encoded_clip import write_tensors
from anchorweave.datasets.latent_clips import LatentClips
from anchorweave.datasets.mixture import Mixture
from anchorweave.models.digest import content_digest, weights_digest
from anchorweave.models.encoders import Encoders
from tests.datasets.small_clips import write_clip
from training.networks.encoded_by import check_encoded_by

OWN = {"vae_content": "v", "vae_weights": "V", "text_content": "t", "text_weights": "T"}


def checked(folder, file, made):
    write_tensors(write_clip(folder, "a") / file, {"x": torch.ones(1)}, made)
    encoders, said = Encoders.__new__(Encoders), []
    vars(encoders).update(path="model", **OWN)
    clips = Mixture({"data": LatentClips(folder)}, {"data": 1})
    check_encoded_by(clips, encoders, said.append)
    return said


@pytest.mark.parametrize("made", [{"vae_content": "v", "vae": "saved again"}, {"vae": "V"}])
def test_the_models_own_are_taken(tmp_path, made):
    assert not [line for line in checked(tmp_path, "latents.safetensors", made) if "VAE" in line]


@pytest.mark.parametrize(
    "file, made, what",
    [
        ("latents.safetensors", {"vae_content": "w"}, "another VAE"),
        ("caption.safetensors", {"text_content": "w"}, "another text encoder"),
    ],
)
def test_others_are_refused(tmp_path, file, made, what):
    with pytest.raises(ValueError, match=f"{file} was made by {what} .w. than .*=model"):
        checked(tmp_path, file, made)


def test_of_files_that_cannot_tell_it_is_said(tmp_path):
    said = checked(tmp_path, "latents.safetensors", {"vae": "W"})
    assert any("another VAE (W)" in line and "nobody can tell" in line for line in said)


def test_saved_again_the_content_is_the_same(tmp_path):
    for name, note in (("one", "here"), ("other", "there")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "w.safetensors").write_bytes(b"weights")
        config = f'{{"_name_or_path": "{note}", "scaling_factor": 0.7}}'
        (tmp_path / name / "config.json").write_text(config)
    one, other = tmp_path / "one", tmp_path / "other"
    assert weights_digest(one) != weights_digest(other)
    assert content_digest(one) == content_digest(other)
    (other / "config.json").write_text('{"scaling_factor": 0.8}')
    assert content_digest(one) != content_digest(other)
