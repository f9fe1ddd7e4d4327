"""A folder with weights missing, or no numbers, is an error that names them, whoever reads it."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from anchorweave.models.encoders import Encoders
from anchorweave.models.loading import ModelParts
from anchorweave.models.model_folder import load_part
from anchorweave.models.references.reference_networks import load_reference_network
from anchorweave.models.references.reference_tokens import ReferenceTokens
from anchorweave.models.small.tiny import write_tiny
from anchorweave.models.weaving.released_weights import (
    load_released_checkpoint,
    to_released_names,
)
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


def with_a_value(folder, value):
    """Puts it into the third tensor, and says which that is."""
    (file,) = folder.glob("*.safetensors")
    tensors = load_file(file)
    name = list(tensors)[3]
    tensors[name].view(-1)[0] = value
    save_file(tensors, file, {"format": "pt"})
    return name


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("value", [float("nan"), -float("inf")])
def test_weights_that_are_no_numbers_are_named_with_their_file(model, part, value):
    name = with_a_value(model / part, value)
    wrong = rf"{part}/\w+.safetensors holds weights that are not finite in torch.float32: {name};"
    with pytest.raises(ValueError, match=wrong):
        load_part(part, model / part)
    with pytest.raises(ValueError, match=wrong):
        AnchorWeavePipeline.from_pretrained(model)


def test_what_is_too_large_for_a_precision_is_said(model):
    name = with_a_value(model / "transformer", 1e6)
    parts = ModelParts(str(model), FRAMES, SIZE)
    with pytest.raises(ValueError, match=f"not finite in torch.float16: {name}.*in float32"):
        parts.backbone(torch.float16)
    # Large ones, whose sum is not finite, are numbers all the same.
    with_a_value(model / "transformer", 3e38)
    parts.backbone(torch.float32)


def test_an_official_models_weights_are_numbers(model):
    """Of an official folder with a controller beside it; and the authors' file of one."""
    with_a_value(model / "vae", float("nan"))
    with pytest.raises(ValueError, match="vae/.*not finite"):
        AnchorWeavePipeline.from_backbone(model)
    controller = load_part("controller", model / "controller")
    state = to_released_names(controller.state_dict())
    first = next(iter(state))
    state[first] = torch.full_like(state[first], float("nan"))
    torch.save({"state_dict": state}, model / "released.pt")
    with pytest.raises(ValueError, match="released.pt holds weights that are not finite"):
        load_released_checkpoint(model / "released.pt", controller, "live")
