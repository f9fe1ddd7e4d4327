"""A family that is registered from outside the package is woven into and trained like any other."""

import json
from dataclasses import replace

import pytest
import torch

from anchorweave.diffusion.objective import ObjectiveConfig, clip_loss
from anchorweave.models.backbones import codec_of, family_of
from anchorweave.models.codec.forms import VideoForm
from anchorweave.models.controller import WeavingController
from anchorweave.models.denoiser import Denoiser
from anchorweave.models.families import FAMILIES, FamilyEntry
from anchorweave.models.latents import encode_retrieved
from anchorweave.models.references.historical_attention import HistoricalAttention
from anchorweave.models.references.reference_tokens import ReferenceTokens
from anchorweave.models.weaving.make_controller import ControllerOptions, make_controller
from anchorweave.pipelines import pipeline_class, pipeline_of
from tests.alike import alike
from tests.models.backbones.toy import Flow, ToyTransformer, ToyVAE
from tests.models.small import (
    small_anchors,
    small_backbone,
    small_controller,
    small_image,
    small_references,
    t,
)
from tests.models.test_latents import retrieved
from tests.pipelines.small import retrieved as known


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    line = FamilyEntry(
        "tests.models.backbones.toy:Toy",
        "tests.pipelines.toy:ToyPipeline",
        VideoForm(frame_step=4, size_step=16),
    )
    monkeypatch.setitem(FAMILIES, "toy", line)


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    return ToyTransformer().eval()


def call_of(B=2, seed=3):
    make = torch.Generator().manual_seed(seed)
    return {
        "noisy_latents": torch.randn(B, t, 4, 4, 6, generator=make),
        "image_latents": small_image(B),
        "prompt_features": torch.randn(B, 5, 12, generator=make),
        "timestep": torch.tensor([400, 900])[:B],
    }


def test_new_it_changes_nothing_and_taught_it_does(backbone, tmp_path):
    controller = make_controller(backbone, options=ControllerOptions(layers=2))
    assert controller.config.family == "toy"
    anchors, call = small_anchors(B=2), call_of()
    with torch.no_grad():
        alone = family_of(backbone).predict(backbone, *call.values(), None)
        assert alike(Denoiser(backbone, controller)(anchors=anchors, **call), alone)
        for project in [*controller.control_proj, *controller.camera_encoder.project]:
            torch.nn.init.normal_(project.weight, std=0.2)
        woven = Denoiser(backbone, controller)(anchors=anchors, **call)
        assert (woven - alone).abs().max() > 1e-3
        controller.save_pretrained(tmp_path)
        again = make_controller(backbone, tmp_path)
        torch.testing.assert_close(Denoiser(backbone, again)(anchors=anchors, **call), woven)
    assert all(type(block).__name__ == "ToyBlock" for block in backbone.layers)


@pytest.mark.parametrize("kind", [ReferenceTokens, HistoricalAttention])
@torch.no_grad()
def test_references_reach_it(backbone, kind):
    options = {} if kind is ReferenceTokens else {"interval": 2, "heads": 2, "head_dim": 8}
    torch.manual_seed(1)
    network = kind.from_backbone(backbone, **options).eval()
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    denoiser, anchors, call = Denoiser(backbone, None, network), small_anchors(B=2), call_of()
    alone = denoiser(anchors=anchors, **call)
    told = denoiser(anchors=anchors, references=small_references(B=2), **call)
    assert told.shape == alone.shape and (told - alone).abs().max() > 1e-4


@torch.no_grad()
def test_references_that_only_some_samples_have_are_refused_without_a_mask(backbone):
    denoiser = Denoiser(backbone, None, ReferenceTokens.from_backbone(backbone).eval())
    references = small_references(B=2)
    some = replace(references, present=torch.tensor([[True, True], [True, False]]))
    with pytest.raises(ValueError, match="of the family toy do not support masks.*batch size of 1"):
        denoiser(anchors=small_anchors(B=2), references=some, **call_of())


def test_its_pipeline_is_found_and_weaves(backbone, tmp_path):
    kind = pipeline_of("toy")
    for index, whole in (
        ({"_class_name": "ToyPipeline"}, True),
        ({"_class_name": "ToyImageToVideo", "transformer": ["toy", "ToyTransformer"]}, False),
    ):
        (tmp_path / "model_index.json").write_text(json.dumps(index))
        assert pipeline_class(tmp_path) == (kind, whole)
    controller = make_controller(backbone, options=ControllerOptions(layers=2))
    pipe = kind(ToyVAE(), backbone, controller)
    pipe.check_shape(9, 32, 48)
    with pytest.raises(ValueError, match="divisible by 16"):
        pipe.check_shape(9, 32, 40)

    def run(**given):
        make = torch.Generator().manual_seed(0)
        return pipe(torch.rand(3, 32, 48, generator=make), "a room", generator=make, **given).images

    plain = run(num_frames=9, height=32, width=48)
    assert alike(run(retrieved=known()), plain)
    for project in [*controller.control_proj, *controller.camera_encoder.project]:
        torch.nn.init.normal_(project.weight, std=0.2)
    assert (run(retrieved=known()) - plain).abs().max() > 1e-3


def test_it_trains_by_its_own_process_and_the_given_frame_does_not_count(backbone):
    backbone.requires_grad_(False)
    process, config = Flow(), ObjectiveConfig()
    denoiser = Denoiser(backbone, small_controller(backbone))
    call, noise = call_of(), torch.randn(2, t, 4, 4, 6, generator=torch.Generator().manual_seed(7))
    clean, timestep = call["noisy_latents"], call["timestep"]
    noisy = process.add_noise(clean, noise, timestep)
    said = denoiser(anchors=small_anchors(B=2), **(call | {"noisy_latents": noisy}))
    loss = clip_loss(process, said, noisy, clean, timestep, config)
    loss.total.mean().backward()
    assert all(p.grad is not None for p in denoiser.controller.parameters())
    other = said.detach().clone()
    other[:, 0] += 5
    assert alike(clip_loss(process, other, noisy, clean, timestep, config).total, loss.total)
    true = process.target(clean, noise, timestep)
    assert clip_loss(process, true, noisy, clean, timestep, config).total.max() < 1e-6


@torch.no_grad()
def test_its_codec_encodes_what_was_retrieved():
    codec = codec_of(ToyVAE())
    anchors = encode_retrieved(codec, [retrieved(2)], patch_size=2)
    assert anchors.latents.shape == (1, 2, 2, 4, 2, 4)
    assert anchors.visible_tokens.shape == (1, 2, 2, 1, 2)
    flat = torch.full((1, 5, 3, 16, 32), 0.25)
    torch.testing.assert_close(codec.decode(codec.encode(flat)), flat)


def test_a_controller_of_another_family_is_refused(backbone):
    with pytest.raises(ValueError, match="of the family cogvideox, this one is of toy"):
        Denoiser(backbone, small_controller(small_backbone()))
    with pytest.raises(ValueError, match="family is one of cogvideox, wan, toy; got 'other'"):
        WeavingController(family="other")
