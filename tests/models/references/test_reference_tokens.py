from dataclasses import replace

import pytest
import torch

from anchorweave.models.backbones import family_of
from anchorweave.models.backbones.with_references import rotary_with_references
from anchorweave.models.denoiser import Denoiser
from anchorweave.models.references.reference_tokens import ReferenceTokens
from tests.alike import alike
from tests.models.small import (
    SMALL,
    S,
    h,
    small_anchors,
    small_backbone,
    small_call,
    small_controller,
    small_image,
    small_references,
    t,
    w,
)

L = (h // 2) * (w // 2)


def answer(denoiser, B=1, **given):
    call = small_call(denoiser.backbone, B=B)
    return denoiser(image_latents=small_image(B), anchors=small_anchors(B), **call, **given)


@pytest.fixture(params=SMALL)
def denoiser(request):
    backbone = small_backbone(family=request.param)
    return Denoiser(backbone, None, ReferenceTokens.from_backbone(backbone).eval())


@torch.no_grad()
def test_references_act_and_none_do_not(denoiser):
    alone = answer(denoiser)
    assert alike(answer(denoiser, references=small_references(R=0)), alone)
    woven = answer(denoiser, references=small_references())
    assert woven.shape == alone.shape and (woven - alone).abs().max() > 1e-3
    other = answer(denoiser, references=small_references(seed=6))
    assert (woven - other).abs().max() > 1e-4


@torch.no_grad()
def test_a_reference_is_a_frame_ahead_of_the_video():
    """The slow twin: the backbone itself, given one sequence of R + t frames."""
    backbone = small_backbone(num_layers=1)
    references, call, image = small_references(R=1), small_call(backbone), small_image()
    denoiser = Denoiser(backbone, None, ReferenceTokens.from_backbone(backbone))
    woven = denoiser(image_latents=image, anchors=small_anchors(), references=references, **call)
    # As one video whose first frame is the reference; its second half of channels reads nothing.
    joined = torch.cat([references.latents, call["noisy_latents"]], dim=1)
    empty = torch.cat([torch.zeros_like(references.latents), image], dim=1)
    cos, sin = call["positions"]
    longer = rotary_with_references((cos, sin), 1, L, time_channels=8)
    expected = backbone(
        hidden_states=torch.cat([joined, empty], dim=2),
        encoder_hidden_states=call["prompt_features"],
        timestep=call["timestep"],
        image_rotary_emb=longer,
        return_dict=False,
    )[0][:, 1:]
    torch.testing.assert_close(woven, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family, channels", [("cogvideox", 8), ("wan", 12)])
def test_times_before_the_video_are_the_tables_own_mirrored(family, channels):
    backbone = small_backbone(family=family)
    table = family_of(backbone).positions(backbone, (t, h, w))
    cos, sin = rotary_with_references(table, 2, L, channels)
    assert len(cos) == (2 + t) * L and torch.equal(cos[2 * L :], table[0])
    for back in (1, 2):
        ahead = slice((2 - back) * L, (3 - back) * L)
        later = slice(back * L, (back + 1) * L)
        torch.testing.assert_close(cos[ahead], table[0][later])
        torch.testing.assert_close(sin[ahead][:, :channels], -table[1][later][:, :channels])
        torch.testing.assert_close(sin[ahead][:, channels:], table[1][later][:, channels:])


@torch.no_grad()
def test_absent_references_are_not_attended(denoiser):
    two = small_references(R=2)
    present = torch.tensor([[True, False]])
    masked = answer(denoiser, references=replace(two, present=present))
    noise = torch.randn_like(two.latents)
    noise[:, 0] = two.latents[:, 0]
    other = answer(denoiser, references=replace(two, present=present, latents=noise))
    torch.testing.assert_close(masked, other)
    seen = answer(denoiser, references=replace(two, latents=noise))
    assert (masked - seen).abs().max() > 1e-4


@torch.no_grad()
def test_cameras_are_told_once_they_are_trained(denoiser):
    references = small_references()
    moved = replace(references, reference2first=references.reference2first + 0.3)
    assert alike(answer(denoiser, references=references), answer(denoiser, references=moved))
    for layer in denoiser.references.pose:
        torch.nn.init.normal_(layer.weight, std=0.1)
    before = answer(denoiser, references=references)
    assert (before - answer(denoiser, references=moved)).abs().max() > 1e-4
    path = replace(references, target2first=references.target2first + 0.3)
    assert (before - answer(denoiser, references=path)).abs().max() > 1e-4
    blind = ReferenceTokens.from_backbone(denoiser.backbone, cameras=False)
    assert not blind.pose


@torch.no_grad()
def test_rows_are_independent_and_guidance_repeats(denoiser):
    references = small_references(B=2)
    references = replace(references, present=torch.tensor([[True, True], [True, False]]))
    together = answer(denoiser, B=2, references=references)
    call = small_call(denoiser.backbone, B=2)
    for b in range(2):
        one = {k: v if k == "positions" else v[b : b + 1] for k, v in call.items()}
        values = (references.latents, references.present, references.reference2first)
        single = denoiser(
            image_latents=small_image(2)[b : b + 1],
            anchors=small_anchors(),
            references=type(references)(
                *(v[b : b + 1] for v in values), references.target2first[b : b + 1]
            ),
            **one,
        )
        torch.testing.assert_close(together[b : b + 1], single, atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_anchors_and_references_together():
    backbone = small_backbone()
    controller = small_controller(backbone)
    both = Denoiser(backbone, controller, ReferenceTokens.from_backbone(backbone))
    anchors = answer(both)
    references = answer(both, references=small_references(), control_weight=0.0, camera_weight=0.0)
    together = answer(both, references=small_references())
    assert (together - anchors).abs().max() > 1e-3
    assert (together - references).abs().max() > 1e-3
    # Whatever was woven in, the backbone is left as it was.
    assert all(type(block).__name__ == "CogVideoXBlock" for block in backbone.transformer_blocks)


def test_gradient_checkpointing_changes_nothing(denoiser):
    denoiser.train()
    references = small_references()
    references = replace(references, present=torch.tensor([[True, False]]))

    def gradient():
        denoiser.zero_grad()
        answer(denoiser, references=references).square().mean().backward()
        return denoiser.references.patch.weight.grad.clone()

    expected = gradient()
    assert expected.abs().max() > 0
    denoiser.backbone.enable_gradient_checkpointing()
    torch.testing.assert_close(gradient(), expected)


@torch.no_grad()
@pytest.mark.parametrize("learned", [False, True])
def test_backbones_without_rotary_positions(learned):
    backbone = small_backbone(
        use_rotary_positional_embeddings=learned, use_learned_positional_embeddings=learned
    )
    denoiser = Denoiser(backbone, None, ReferenceTokens.from_backbone(backbone))
    table = backbone.patch_embed.pos_embedding
    with_positions = answer(denoiser, references=small_references())
    table[:, S : S + L] += torch.randn(L, table.shape[-1])
    assert (answer(denoiser, references=small_references()) - with_positions).abs().max() > 1e-4


def test_saved_and_loaded(denoiser, tmp_path):
    denoiser.references.save_pretrained(tmp_path)
    again = ReferenceTokens.from_pretrained(tmp_path)
    for name, value in denoiser.references.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)


def test_one_for_another_backbone_is_refused():
    references = ReferenceTokens.from_backbone(small_backbone(num_layers=2))
    with pytest.raises(ValueError, match="num_layers 2, this one has 3"):
        Denoiser(small_backbone(), None, references)
