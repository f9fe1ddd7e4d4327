"""A folder that lacks weights is an error that names them, whoever reads it."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from anchorweave.models.encoders import Encoders
from anchorweave.models.loading import ModelParts
from anchorweave.models.model_folder import load_part
from anchorweave.models.references.reference_networks import load_reference_network
from anchorweave.models.references.reference_tokens import ReferenceTokens
from anchorweave.models.small.tiny import write_tiny
from anchorweave.pipelines import AnchorWeavePipeline
from tests.models.small import small_backbone

FRAMES, SIZE = 5, (32, 32)
PARTS = ("text_encoder", "vae", "transformer", "controller")


@pytest.fixture
def model(tmp_path):
    return write_tiny(tmp_path / "model", frames=FRAMES, size=SIZE)


def without_one(folder):
    """Takes the third tensor away, and says which it was."""
    (file,) = folder.glob("*.safetensors")
    tensors = load_file(file)
    name = list(tensors)[3]
    del tensors[name]
    save_file(tensors, file, {"format": "pt"})
    return name


@pytest.mark.parametrize("part", PARTS)
def test_a_part_without_a_weight_names_it(model, part):
    name = without_one(model / part)
    with pytest.raises(ValueError, match=f"{part} lacks weights .*{name}"):
        load_part(part, model / part)
    with pytest.raises(ValueError, match=f"{part} lacks weights .*{name}"):
        AnchorWeavePipeline.from_pretrained(model)


def test_what_training_and_encoding_read_is_whole(model):
    parts = ModelParts(str(model), FRAMES, SIZE)
    assert not any(p.is_meta for p in parts.backbone(torch.float32).parameters())
    name = without_one(model / "transformer")
    with pytest.raises(ValueError, match=f"transformer lacks weights .*{name}"):
        parts.backbone(torch.float32)
    name = without_one(model / "text_encoder")
    with pytest.raises(ValueError, match=f"text_encoder lacks weights .*{name}"):
        Encoders(str(model), FRAMES, SIZE).text(torch.float32)
    name = without_one(model / "controller")
    with pytest.raises(ValueError, match=f"controller lacks weights .*{name}"):
        AnchorWeavePipeline.from_backbone(
            AnchorWeavePipeline.from_pretrained(write_tiny(model.parent / "b", 0, FRAMES, SIZE)),
            model / "controller",
        )


def test_a_reference_network_is_whole(tmp_path):
    ReferenceTokens.from_backbone(small_backbone()).save_pretrained(tmp_path / "references")
    name = without_one(tmp_path / "references")
    with pytest.raises(ValueError, match=f"references lacks weights .*{name}"):
        load_reference_network(tmp_path / "references")
