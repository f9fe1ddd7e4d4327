"""Frames ahead of the video, in the backbone and in the controller."""

from dataclasses import replace

import pytest
import torch

from anchorweave.anchors import AnchorLatents, PrecedingLatents, ReferenceLatents
from anchorweave.models.backbones import family_of
from anchorweave.models.backbones.with_references import rotary_with_references
from anchorweave.models.denoiser import Denoiser
from anchorweave.models.references.historical_attention import HistoricalAttention
from anchorweave.models.references.reference_tokens import ReferenceTokens
from tests.alike import alike
from tests.models.small import (
    SMALL,
    h,
    rows,
    small_anchors,
    small_backbone,
    small_call,
    small_controller,
    small_image,
    small_preceding,
    small_references,
    t,
    w,
)

PER_FRAME = (h // 2) * (w // 2)
p, P = 2, 5


def answer(denoiser, B=1, **given):
    call = small_call(denoiser.backbone, B=B)
    given = {"references": small_references(B), "anchors": small_anchors(B)} | given
    return denoiser(image_latents=small_image(B), **call, **given)


@pytest.fixture(params=SMALL)
def backbone(request):
    return small_backbone(family=request.param)


@pytest.fixture
def references(backbone):
    return ReferenceTokens.from_backbone(backbone).eval()


@pytest.fixture
def denoiser(backbone, references):
    return Denoiser(backbone, small_controller(backbone), references)


@torch.no_grad()
def test_a_new_controller_adds_nothing_to_them(backbone, references):
    bare = Denoiser(backbone, None, references)
    alone = answer(bare, preceding=small_preceding())
    woven = Denoiser(backbone, small_controller(backbone, zero=True), references)
    assert alike(answer(woven, preceding=small_preceding()), alone)
    assert (answer(bare) - alone).abs().max() > 1e-3


@torch.no_grad()
def test_in_the_backbone_their_latents_stand_between_references_and_video(backbone, references):
    for layer in references.pose:
        torch.nn.init.normal_(layer.weight, std=0.1)
    known, ahead = small_references(R=1), small_preceding()
    joined = ReferenceLatents(
        torch.cat([known.latents, ahead.latents], dim=1),
        torch.ones(1, 1 + p, dtype=torch.bool),
        torch.cat([known.reference2first, ahead.anchors.target2first[:, [0, 4]]], dim=1),
        known.target2first,
    )
    bare = Denoiser(backbone, None, references)
    found = answer(bare, references=known, preceding=ahead)
    assert alike(found, answer(bare, references=joined))
    swapped = replace(joined, latents=joined.latents.flip(1))
    assert (found - answer(bare, references=swapped)).abs().max() > 1e-4


@torch.no_grad()
@pytest.mark.parametrize("tokens", ["all", "visible"])
def test_in_the_controller_they_are_frames_ahead_of_the_video(tokens):
    """The slow twin: one sequence of p + t frames with a longer rotary table."""
    backbone = small_backbone(family="wan")
    controller = small_controller(backbone, fusion="average", tokens=tokens)
    call, anchors, ahead = small_call(backbone), small_anchors(), small_preceding()
    given = (call["prompt_features"], call["timestep"])
    found = controller(call["noisy_latents"], *given, anchors, call["positions"], preceding=ahead)
    poses = torch.eye(4).repeat(1, 3, (p + t - 1) * 4 + 1, 1, 1)
    whole = AnchorLatents(
        torch.cat([ahead.anchors.latents, anchors.latents], dim=2),
        torch.cat([ahead.anchors.visible_tokens, anchors.visible_tokens], dim=2),
        poses,
        poses[:, 0],
    )
    channels = family_of(backbone).time_channels(32)
    longer = rotary_with_references(call["positions"], p, PER_FRAME, channels)
    noisy = torch.cat([ahead.latents, call["noisy_latents"]], dim=1)
    expected = controller(noisy, *given, whole, longer)
    assert all(alike(a, b) for a, b in zip(found, expected, strict=True))
    assert found[0].shape[1] == (p + t) * PER_FRAME


@torch.no_grad()
def test_features_are_added_to_their_tokens_and_to_the_videos_but_to_no_references(denoiser):
    """By what the second block is given, which the first one's features have been added to."""
    seen = {}
    block = denoiser.family.blocks(denoiser.backbone)[1]
    block.register_forward_pre_hook(lambda m, args: seen.update(tokens=args[0].clone()))
    given = {"preceding": small_preceding(), "camera_weight": 0.0}
    answer(denoiser, **given)
    woven = seen["tokens"]
    answer(denoiser, **given, control_weight=0.0)
    apart = (woven - seen["tokens"]).abs().amax(dim=-1).unflatten(1, (-1, PER_FRAME))
    moved = (apart > 1e-4).flatten(2).any(dim=2)[0]
    assert moved.tolist() == [False] * 2 + [True] * (p + t)


@torch.no_grad()
def test_what_memory_shows_there_acts(denoiser):
    ahead = small_preceding()
    found = answer(denoiser, preceding=ahead)
    for name in ("latents", "target2first"):
        moved = getattr(ahead.anchors, name) + 1
        other = replace(ahead, anchors=replace(ahead.anchors, **{name: moved}))
        assert (answer(denoiser, preceding=other) - found).abs().max() > 1e-5, name


@torch.no_grad()
def test_their_anchors_are_weighed_by_their_own_cameras(backbone):
    controller, call = small_controller(backbone), small_call(backbone)
    given = [call[name] for name in ("noisy_latents", "prompt_features", "timestep")]
    given += [small_anchors(), call["positions"]]
    ahead = small_preceding()
    poses = ahead.anchors.target2source.clone()
    poses[:, :, 1:] += 20 * torch.randn(poses[:, :, 1:].shape)
    other = replace(ahead, anchors=replace(ahead.anchors, target2source=poses))
    apart = controller(*given, preceding=ahead)[0] - controller(*given, preceding=other)[0]
    frames = apart.abs().amax(dim=-1).unflatten(1, (-1, PER_FRAME)).amax(dim=2)[0]
    # All poses but the first are of the second latent frame.
    assert (frames > 1e-4).tolist() == [False, True, False, False, False]


def test_with_gradients_and_reused_constants_come_out_alike(denoiser):
    ahead = small_preceding()
    learning = answer(denoiser, preceding=ahead)
    with torch.no_grad():
        assert alike(answer(denoiser, preceding=ahead), learning)
    learning.sum().backward()
    assert denoiser.controller.latent_proj.weight.grad.any()


@torch.no_grad()
def test_rows_are_independent_and_guidance_repeats(denoiser):
    ahead, known, anchors = small_preceding(2), small_references(2), small_anchors(2)
    together = answer(denoiser, 2, preceding=ahead)
    call, image = small_call(denoiser.backbone, B=2), small_image(2)
    for b in range(2):
        one = slice(b, b + 1)
        single = PrecedingLatents(ahead.latents[one], rows(ahead.anchors, one))
        alone = ReferenceLatents(
            known.latents[one],
            known.present[one],
            known.reference2first[one],
            known.target2first[one],
        )
        weaving = {"references": alone, "preceding": single}
        words = [call[name][one] for name in ("noisy_latents", "prompt_features", "timestep")]
        with denoiser.weaving(rows(anchors, one), **weaving):
            noisy, text, timestep = (value.repeat_interleave(2, 0) for value in words)
            doubled = denoiser.family.predict(
                denoiser.backbone,
                *(noisy, image[one].repeat_interleave(2, 0), text, timestep, call["positions"]),
            )
        for row in doubled:
            assert alike(row, together[b])


def test_what_cannot_be_is_refused(backbone, denoiser):
    with pytest.raises(ValueError, match="preceding frames have 2 anchors and the video has 3"):
        answer(denoiser, preceding=small_preceding(N=2))
    ahead, call = small_preceding(), small_call(backbone)
    short = replace(ahead, latents=ahead.latents[:, :1])
    with pytest.raises(ValueError, match="anchors.latents has shape"):
        denoiser.controller(
            *(call[name] for name in ("noisy_latents", "prompt_features", "timestep")),
            small_anchors(),
            call["positions"],
            preceding=short,
        )
    looking = Denoiser(backbone, None, HistoricalAttention.from_backbone(backbone, interval=2))
    with pytest.raises(
        ValueError, match="HistoricalAttention does not support preceding.*preceding=0"
    ):
        answer(looking, preceding=ahead)
