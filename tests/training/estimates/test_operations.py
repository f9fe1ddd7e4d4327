import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from anchorweave.anchors import AnchorLatents
from anchorweave.models.backbones import family_of
from anchorweave.models.backbones.cogvideox import PUBLISHED_5B
from anchorweave.models.denoiser import Denoiser
from anchorweave.models.references.historical_attention import HistoricalAttention
from anchorweave.models.references.reference_tokens import ReferenceTokens
from tests.models.small import (
    SMALL,
    small_anchors,
    small_backbone,
    small_call,
    small_controller,
    small_references,
)
from tests.models.small import small_image as image
from training.estimates.operations import training_step
from training.estimates.references import with_references


def full_step(**changes):
    with torch.device("meta"):
        backbone = small_backbone(**PUBLISHED_5B)
        controller = small_controller(backbone, zero=True, num_layers=16, num_heads=16)
    arguments = {
        "batch": 1,
        "anchors": 4,
        "latent_size": (13, 60, 90),
        "text_tokens": 226,
    }
    return training_step(
        family_of(backbone).sizes(backbone), controller.config, **(arguments | changes)
    )


def test_operations_of_the_5b_are_those_that_torch_counts():
    """On the meta device, where attention is written out as products."""
    t, h, w, T, K = 13, 60, 90, 49, 4
    with torch.device("meta"):
        backbone = small_backbone(**PUBLISHED_5B).requires_grad_(False)
        denoiser = Denoiser(
            backbone, small_controller(backbone, zero=True, num_layers=16, num_heads=16)
        )
        anchors = AnchorLatents(
            torch.empty(1, K, t, 16, h, w),
            torch.empty(1, K, t, h // 2, w // 2, dtype=torch.bool),
            torch.empty(1, K, T, 4, 4),
            torch.empty(1, T, 4, 4),
        )
        latents, prompt = torch.empty(1, t, 16, h, w), torch.empty(1, 226, 4096)
        timestep = torch.empty(1, dtype=torch.long)
    table = tuple(part.to("meta") for part in family_of(backbone).positions(backbone, (t, h, w)))
    with FlopCounterMode(display=False) as counter:
        denoiser(latents, latents, prompt, timestep, anchors, table).sum().backward()
    step = full_step()
    assert step.forward + step.backward == pytest.approx(counter.get_total_flops(), rel=1e-3)


@pytest.mark.parametrize("attention", ["joint", "separate"])
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("full", [False, True])
def test_operations_of_a_real_step_are_those_that_torch_counts(attention, checkpointing, full):
    backbone = small_backbone().requires_grad_(full)
    controller = small_controller(backbone, attention=attention)
    if checkpointing:
        backbone.enable_gradient_checkpointing()
        controller.enable_gradient_checkpointing()
    denoiser = Denoiser(backbone, controller).train()
    B, N = 2, 3
    step = training_step(
        family_of(backbone).sizes(backbone),
        controller.config,
        batch=B,
        anchors=N,
        latent_size=(3, 4, 6),
        text_tokens=5,
        train_backbone=full,
    )
    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), counter:
        call = small_call(backbone, B) | {"image_latents": image(B), "anchors": small_anchors(B, N)}
        loss = denoiser(**call).sum()
        forward = counter.get_total_flops()
        loss.backward()
    # What is not counted here, such as the confidences, weighs more in networks as small as these.
    assert step.forward == pytest.approx(forward, rel=0.02)
    backward = step.backward + checkpointing * step.recomputed()
    assert backward == pytest.approx(counter.get_total_flops() - forward, rel=0.04)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("kind", [ReferenceTokens, HistoricalAttention])
@pytest.mark.parametrize("family", SMALL)
def test_operations_of_references_are_those_that_torch_counts(family, kind, checkpointing):
    backbone = small_backbone(family=family).requires_grad_(False)
    controller = small_controller(backbone)
    options = {"interval": 2, "heads": 2, "head_dim": 32} if kind is HistoricalAttention else {}
    references = kind.from_backbone(backbone, **options)
    if checkpointing:
        backbone.enable_gradient_checkpointing()
        controller.enable_gradient_checkpointing()
    denoiser = Denoiser(backbone, controller, references).train()
    B, N, R, sizes = 2, 3, 4, family_of(backbone).sizes(backbone)
    clip = {"batch": B, "latent_size": (3, 4, 6)}
    step = training_step(sizes, controller.config, anchors=N, text_tokens=5, **clip)
    step = with_references(step, sizes, references, count=R, **clip)
    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), counter:
        call = small_call(backbone, B) | {"image_latents": image(B), "anchors": small_anchors(B, N)}
        loss = denoiser(**call, references=small_references(B, R)).sum()
        forward = counter.get_total_flops()
        loss.backward()
    # As above; beside blocks as narrow as these, their ends weigh more.
    assert step.forward == pytest.approx(forward, rel=0.03)
    backward = step.backward + checkpointing * step.recomputed()
    assert backward == pytest.approx(counter.get_total_flops() - forward, rel=0.06)


def test_a_batch_costs_its_samples_and_hidden_tokens_cost_less():
    one, two = full_step(), full_step(batch=2)
    assert two.forward == 2 * one.forward and two.backward == 2 * one.backward
    with torch.device("meta"):
        backbone = small_backbone(**PUBLISHED_5B)
        controller = small_controller(backbone, tokens="visible", num_layers=16, num_heads=16)
    half = training_step(
        family_of(backbone).sizes(backbone),
        controller.config,
        batch=1,
        anchors=4,
        latent_size=(13, 60, 90),
        text_tokens=226,
        visible=0.5,
    )
    assert half.controller.tokens == 226 + 2 * 17_550
    assert half.controller.attention < 0.26 * one.controller.attention
