"""A model folder that lacks a part says which, before anything of it is loaded."""

import json
import shutil

import pytest
import torch

from anchorweave.models.encoders import Encoders
from anchorweave.models.loading import ModelParts
from anchorweave.models.model_folder import check_parts
from anchorweave.models.small.tiny import write_tiny
from anchorweave.pipelines import AnchorWeavePipeline

SMALL = (5, (32, 64))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("models") / "whole", 0, *SMALL)


@pytest.fixture
def model(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "model")


def test_a_whole_folder_passes(whole):
    check_parts(whole)


@pytest.mark.parametrize(
    "gone, said",
    [
        ("vae", r"lacks vae \(there is no folder vae/\)"),
        ("vae/diffusion_pytorch_model.safetensors", r"lacks vae \(no weights in vae/\)"),
        ("transformer/config.json", r"lacks transformer \(no config.json in transformer/\)"),
        ("controller", "lacks controller"),
        ("text_encoder/model.safetensors", r"lacks text_encoder \(no weights"),
        ("tokenizer/tokenizer_config.json", "lacks tokenizer"),
        ("scheduler", "lacks scheduler"),
        ("model_index.json", "no model_index.json in it"),
    ],
)
def test_a_missing_part_is_named(model, gone, said):
    path = model / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(FileNotFoundError, match=said):
        AnchorWeavePipeline.from_pretrained(model)
    with pytest.raises(FileNotFoundError, match=said):
        AnchorWeavePipeline.from_backbone(model)


def test_all_missing_parts_are_named_at_once(model):
    shutil.rmtree(model / "vae")
    shutil.rmtree(model / "scheduler")
    with pytest.raises(FileNotFoundError, match=r"lacks vae \(.*\), scheduler \("):
        check_parts(model)


def test_a_part_that_the_index_lost_and_an_index_that_is_cut_are_named(model):
    index = json.loads((model / "model_index.json").read_text())
    del index["vae"]
    (model / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(FileNotFoundError, match="vae .model_index.json does not list it"):
        check_parts(model)
    (model / "model_index.json").write_text("{")
    with pytest.raises(ValueError, match="model_index.json cannot be read"):
        check_parts(model)


def test_a_missing_shard_is_named(model):
    names = {"a": "one.safetensors", "b": "two.safetensors"}
    listed = model / "transformer" / "diffusion_pytorch_model.safetensors.index.json"
    listed.write_text(json.dumps({"weight_map": names}))
    (model / "transformer" / "one.safetensors").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="lacks transformer .no two.safetensors in"):
        check_parts(model)


def test_who_needs_one_part_does_not_miss_the_others(model):
    shutil.rmtree(model / "text_encoder")
    parts = ModelParts(model, *SMALL)
    assert parts.vae(torch.float32) is not None
    with pytest.raises(FileNotFoundError, match="lacks text_encoder"):
        Encoders(model, *SMALL)
    # What is given from elsewhere is not missed.
    check_parts(model, without={"text_encoder": object()})
