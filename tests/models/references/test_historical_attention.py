from dataclasses import replace

import pytest
import torch

from anchorweave.models.denoiser import Denoiser
from anchorweave.models.references.historical_attention import HistoricalAttention
from anchorweave.models.references.reference_networks import load_reference_network
from tests.alike import alike
from tests.models.small import (
    small_anchors,
    small_backbone,
    small_call,
    small_controller,
    small_image,
    small_references,
)


def answer(denoiser, B=1, **given):
    call = small_call(denoiser.backbone, B=B)
    return denoiser(image_latents=small_image(B), anchors=small_anchors(B), **call, **given)


def opened(references):
    """With output weights as after some training."""
    for layer in references.layers:
        torch.nn.init.normal_(layer.to_out[0].weight, std=0.1)
    return references


@pytest.fixture
def denoiser():
    backbone = small_backbone()
    made = HistoricalAttention.from_backbone(backbone, interval=2, heads=2, head_dim=8)
    return Denoiser(backbone, None, made.eval())


@torch.no_grad()
def test_a_new_one_changes_nothing_and_a_trained_one_does(denoiser):
    alone = answer(denoiser)
    assert alike(answer(denoiser, references=small_references()), alone)
    opened(denoiser.references)
    woven = answer(denoiser, references=small_references())
    assert (woven - alone).abs().max() > 1e-3
    other = answer(denoiser, references=small_references(seed=6))
    assert (woven - other).abs().max() > 1e-4


def test_a_layer_behind_every_interval():
    backbone = small_backbone(num_layers=5)
    made = HistoricalAttention.from_backbone(backbone, interval=2, heads=2, head_dim=8)
    assert list(made.places) == [0, 2, 4] and len(made.layers) == 3
    with pytest.raises(ValueError, match="1 or more"):
        HistoricalAttention.from_backbone(backbone, interval=0)


@torch.no_grad()
def test_absent_references_are_not_looked_at(denoiser):
    opened(denoiser.references)
    two = small_references(R=2)
    present = torch.tensor([[True, False]])
    noise = torch.randn_like(two.latents)
    noise[:, 0] = two.latents[:, 0]
    masked = answer(denoiser, references=replace(two, present=present))
    other = answer(denoiser, references=replace(two, present=present, latents=noise))
    torch.testing.assert_close(masked, other)


@torch.no_grad()
def test_a_sample_without_references_is_left_alone(denoiser):
    alone = answer(denoiser, B=2)
    opened(denoiser.references)
    references = small_references(B=2)
    present = torch.tensor([[True, True], [False, False]])
    woven = answer(denoiser, B=2, references=replace(references, present=present))
    torch.testing.assert_close(woven[1], alone[1])
    assert (woven[0] - alone[0]).abs().max() > 1e-3
    none = replace(references, present=torch.zeros(2, 2, dtype=torch.bool))
    assert alike(answer(denoiser, B=2, references=none), alone)


@torch.no_grad()
def test_with_anchors():
    backbone = small_backbone()
    made = opened(HistoricalAttention.from_backbone(backbone, interval=1, heads=2, head_dim=8))
    both = Denoiser(backbone, small_controller(backbone), made)
    anchors = answer(both)
    assert (answer(both, references=small_references()) - anchors).abs().max() > 1e-3
    assert all(type(block).__name__ == "CogVideoXBlock" for block in backbone.transformer_blocks)


def test_gradient_checkpointing_changes_nothing(denoiser):
    opened(denoiser.references)
    denoiser.train()

    def gradient():
        denoiser.zero_grad()
        answer(denoiser, references=small_references()).square().mean().backward()
        return denoiser.references.layers[1].to_k.weight.grad.clone()

    expected = gradient()
    assert expected.abs().max() > 0
    denoiser.backbone.enable_gradient_checkpointing()
    torch.testing.assert_close(gradient(), expected)


def test_saved_and_loaded_by_its_kind(denoiser, tmp_path):
    denoiser.references.save_pretrained(tmp_path)
    again = load_reference_network(tmp_path)
    assert isinstance(again, HistoricalAttention) and again.config.interval == 2
    with pytest.raises(FileNotFoundError, match="no reference network at"):
        load_reference_network(tmp_path / "none")
    (tmp_path / "config.json").write_text('{"_class_name": "Other"}')
    with pytest.raises(ValueError, match="contains a Other, expected one of ReferenceTokens"):
        load_reference_network(tmp_path)
