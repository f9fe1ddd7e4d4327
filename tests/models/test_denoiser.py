from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from diffusers import FirstBlockCacheConfig, PyramidAttentionBroadcastConfig

from anchorweave.models.backbones import family_of
from anchorweave.models.denoiser import Denoiser
from tests.alike import alike
from tests.models.small import (
    SMALL,
    rows,
    small_anchors,
    small_backbone,
    small_call,
    small_controller,
    small_image,
)


@pytest.fixture(params=SMALL)
def denoiser(request):
    backbone = small_backbone(family=request.param)
    return Denoiser(backbone, small_controller(backbone))


def alone(backbone, call, image):
    given = [call[name] for name in ("prompt_features", "timestep", "positions")]
    return family_of(backbone).predict(backbone, call["noisy_latents"], image, *given)


@contextmanager
def counted(module, name, calls):
    original = getattr(module, name)

    def counting(*args, **kwargs):
        calls.append(name)
        return original(*args, **kwargs)

    setattr(module, name, counting)
    try:
        yield
    finally:
        delattr(module, name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", SMALL)
@torch.no_grad()
def test_zero_initialised_it_is_the_backbone(dtype, family):
    backbone = small_backbone(family=family).to(dtype)
    denoiser = Denoiser(backbone, small_controller(backbone, zero=True).to(dtype))
    call, image = small_call(backbone, B=2), small_image(B=2).to(dtype)
    for name in ("noisy_latents", "prompt_features"):
        call[name] = call[name].to(dtype)
    woven = denoiser(image_latents=image, anchors=small_anchors(B=2), **call)
    assert alike(woven, alone(backbone, call, image))


@torch.no_grad()
def test_rows_are_independent(denoiser):
    call, image, anchors = small_call(denoiser.backbone, B=2), small_image(2), small_anchors(B=2)
    together = denoiser(image_latents=image, anchors=anchors, **call)
    for b in range(2):
        one = {k: v if k == "positions" else v[b : b + 1] for k, v in call.items()}
        single = denoiser(image_latents=image[b : b + 1], anchors=rows(anchors, [b]), **one)
        torch.testing.assert_close(together[b : b + 1], single, atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_both_signals_act_and_each_can_be_switched_off(denoiser):
    call, image, anchors = small_call(denoiser.backbone), small_image(), small_anchors()
    answers = {
        weights: denoiser(
            image_latents=image,
            anchors=anchors,
            control_weight=weights[0],
            camera_weight=weights[1],
            **call,
        )
        for weights in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.5, 1.0), (1.0, 0.5))
    }
    assert alike(answers[0.0, 0.0], alone(denoiser.backbone, call, image))
    values = list(answers.values())
    for i, a in enumerate(values):
        assert not any(torch.allclose(a, b, atol=1e-4) for b in values[i + 1 :])


@torch.no_grad()
def test_a_sample_that_is_alone_is_the_backbones_and_the_others_are_woven(denoiser):
    call, image, anchors = small_call(denoiser.backbone, B=3), small_image(3), small_anchors(B=3)
    apart = torch.tensor([False, True, False])
    mixed = denoiser(image_latents=image, anchors=anchors, alone=apart, **call)
    woven = denoiser(image_latents=image, anchors=anchors, **call)
    torch.testing.assert_close(mixed[~apart], woven[~apart])
    torch.testing.assert_close(mixed[apart], alone(denoiser.backbone, call, image)[apart])
    assert not torch.allclose(mixed[apart], woven[apart], atol=1e-3)


@torch.no_grad()
def test_weight_zero_calls_no_controller_and_cameras_are_encoded_once(denoiser):
    call, image, anchors = small_call(denoiser.backbone), small_image(), small_anchors()
    for weights, expected in (
        ((0.0, 0.0), []),
        ((0.0, 1.0), ["camera_features"]),
        ((1.0, 0.0), ["forward"] * 3),
        ((1.0, 1.0), ["camera_features"] + ["forward"] * 3),
    ):
        calls = []
        with (
            counted(denoiser.controller, "forward", calls),
            counted(denoiser.controller, "camera_features", calls),
            denoiser.weaving(anchors, *weights),
        ):
            for _ in range(3):
                alone(denoiser.backbone, call, image)
        assert calls == expected


@torch.no_grad()
def test_any_call_of_the_backbone_is_woven_inside_and_none_after(denoiser):
    call, image, anchors = small_call(denoiser.backbone), small_image(), small_anchors()
    plain = alone(denoiser.backbone, call, image)
    expected = denoiser(image_latents=image, anchors=anchors, **call)
    with denoiser.weaving(anchors):
        assert alike(alone(denoiser.backbone, call, image), expected)
        assert alike(alone(denoiser.backbone, call, image), expected)
    assert alike(alone(denoiser.backbone, call, image), plain)


@torch.no_grad()
def test_guidance_may_double_the_batch(denoiser):
    call, image, anchors = small_call(denoiser.backbone, B=4), small_image(4), small_anchors(B=2)
    with denoiser.weaving(anchors):
        doubled = alone(denoiser.backbone, call, image)
    # The same numbers in another buffer: some BLAS round by a buffer's alignment.
    with denoiser.weaving(rows(anchors, [0, 1, 0, 1])):
        torch.testing.assert_close(doubled, alone(denoiser.backbone, call, image))
    with denoiser.weaving(rows(anchors, [0, 0, 1, 1])):
        assert not torch.allclose(doubled, alone(denoiser.backbone, call, image), atol=1e-4)


@torch.no_grad()
def test_outside_its_window_the_backbone_runs_alone(denoiser):
    call, image, anchors = small_call(denoiser.backbone), small_image(), small_anchors()
    steps = [call | {"timestep": torch.tensor([timestep])} for timestep in (900, 100, 501)]
    with denoiser.weaving(anchors, active=lambda timestep: bool(timestep[0] > 500)):
        inside = [alone(denoiser.backbone, step, image) for step in steps]
    for step, met, woven in zip(steps, inside, (True, False, True), strict=True):
        if woven:
            assert alike(met, denoiser(image_latents=image, anchors=anchors, **step))
        else:
            assert alike(met, alone(denoiser.backbone, step, image))


@torch.no_grad()
def test_an_error_leaves_no_trace(denoiser):
    call, image, anchors = small_call(denoiser.backbone), small_image(), small_anchors()
    blocks = list(family_of(denoiser.backbone).blocks(denoiser.backbone))
    plain = alone(denoiser.backbone, call, image)

    def fail(*_):
        raise RuntimeError("on purpose")

    hook = blocks[-1].register_forward_pre_hook(fail)
    with denoiser.weaving(anchors):
        with pytest.raises(RuntimeError, match="on purpose"):
            alone(denoiser.backbone, call, image)
        assert all(
            a is b
            for a, b in zip(
                blocks, family_of(denoiser.backbone).blocks(denoiser.backbone), strict=True
            )
        )
        hook.remove()
        assert not torch.allclose(alone(denoiser.backbone, call, image), plain, atol=1e-4)
    with pytest.raises(ValueError, match="batch 1 cannot be woven with the anchors of 2"):
        denoiser(image_latents=image, anchors=small_anchors(B=2), **call)
    assert alike(alone(denoiser.backbone, call, image), plain)
    assert not denoiser.backbone._forward_hooks and not denoiser.backbone._forward_pre_hooks


def test_checkpointing_and_a_frozen_backbone_give_the_controller_the_same_gradients():
    gradients = []
    for checkpointed in (False, True):
        backbone = small_backbone().requires_grad_(False)
        denoiser = Denoiser(backbone, small_controller(backbone)).train()
        if checkpointed:
            backbone.enable_gradient_checkpointing()
            denoiser.controller.enable_gradient_checkpointing()
        call = small_call(backbone, B=2)
        v = denoiser(image_latents=small_image(2), anchors=small_anchors(B=2), **call)
        v.square().mean().backward()
        gradients.append({n: p.grad for n, p in denoiser.controller.named_parameters()})
    for name, plain in gradients[0].items():
        assert plain is not None and plain.any(), name
        torch.testing.assert_close(plain, gradients[1][name])


@torch.no_grad()
def test_anchors_in_double_on_a_single_precision_network(denoiser):
    call, image, anchors = small_call(denoiser.backbone), small_image(), small_anchors()
    double = replace(anchors, target2first=anchors.target2first.double())
    expected = denoiser(image_latents=image, anchors=anchors, **call)
    assert alike(denoiser(image_latents=image, anchors=double, **call), expected)


def test_a_controller_of_another_backbone_is_refused():
    backbone = small_backbone()
    controller = small_controller(backbone)
    with pytest.raises(ValueError, match="backbone_dim 64, this one has 96"):
        Denoiser(small_backbone(num_attention_heads=3), controller)
    with pytest.raises(ValueError, match="rotary True"):
        Denoiser(small_backbone(use_rotary_positional_embeddings=False), controller)
    with pytest.raises(ValueError, match="weaves 2 layers"):
        Denoiser(small_backbone(num_layers=1), controller)


@torch.no_grad()
def test_control_features_may_be_used_again_in_the_next_steps(denoiser):
    call, image, anchors = small_call(denoiser.backbone), small_image(), small_anchors()
    later = call | {"timestep": call["timestep"] - 1, "noisy_latents": call["noisy_latents"] + 0.1}
    each = [denoiser(image_latents=image, anchors=anchors, **one) for one in (call, later)]
    calls = []
    with (
        counted(denoiser.controller, "forward", calls),
        denoiser.weaving(anchors, control_every=2),
    ):
        # Guidance as two calls a step, of which each has an answer of its own.
        found = [alone(denoiser.backbone, one, image) for one in (call, call, later, later)]
    assert len(calls) == 2
    assert alike(found[0], each[0]) and alike(found[1], each[0])
    assert not alike(found[2], each[1]) and alike(found[2], found[3])
    assert (found[2] - each[1]).norm() < 0.2 * each[1].norm()


@torch.no_grad()
def test_control_features_used_again_where_a_scheduler_repeats_a_timestep(denoiser):
    call, image, anchors = small_call(denoiser.backbone), small_image(), small_anchors()
    later = call | {"timestep": call["timestep"] - 1}
    with denoiser.weaving(anchors, control_every=2):
        # As UniPC's integer timesteps: two steps with one timestep between others.
        found = [alone(denoiser.backbone, one, image) for one in (call, later, later, call)]
    assert all(video.isfinite().all() for video in found)


@pytest.mark.parametrize("family", SMALL)
def test_a_frozen_short_backbone_computes_outside_autocast(family):
    backbone = small_backbone(family=family).bfloat16().requires_grad_(False)
    denoiser = Denoiser(backbone, small_controller(backbone))
    met = []
    for part in (family_of(backbone).blocks(backbone)[1], denoiser.controller.blocks[0]):
        part.register_forward_pre_hook(lambda *_: met.append(torch.is_autocast_enabled("cpu")))
    call = {
        k: v.bfloat16() if k.endswith(("latents", "features")) else v
        for k, v in small_call(backbone).items()
    }
    image, anchors = small_image().bfloat16(), small_anchors()
    with torch.autocast("cpu", torch.bfloat16):
        found = denoiser(image_latents=image, anchors=anchors, **call)
        assert torch.is_autocast_enabled("cpu")
    assert met == [True, False]
    found.float().square().mean().backward()
    assert all(p.grad is not None for p in denoiser.controller.control_proj.parameters())
    # What is trained computes under autocast as before.
    denoiser.backbone.requires_grad_(True)
    met.clear()
    with torch.autocast("cpu", torch.bfloat16):
        under = denoiser(image_latents=image, anchors=anchors, **call)
    assert met == [True, True]
    # bfloat16 has 8 bits; a few layers' rounding in another order.
    assert (found - under).float().norm() < 0.05 * under.float().norm()


@torch.no_grad()
def test_caches_that_skip_blocks_are_refused_and_others_fit():
    backbone = small_backbone()
    denoiser = Denoiser(backbone, small_controller(backbone))
    call, image, anchors = small_call(backbone), small_image(), small_anchors()
    expected = denoiser(image_latents=image, anchors=anchors, **call)
    backbone.enable_cache(FirstBlockCacheConfig())
    with pytest.raises(ValueError, match="FirstBlockCacheConfig, which skips whole blocks"):
        denoiser(image_latents=image, anchors=anchors, **call)
    backbone.disable_cache()
    step = [999]
    backbone.enable_cache(
        PyramidAttentionBroadcastConfig(
            spatial_attention_block_skip_range=2,
            spatial_attention_timestep_skip_range=(-1, 1001),
            current_timestep_callback=lambda: step[0],
        )
    )
    with denoiser.weaving(anchors):
        first, second = (alone(backbone, call, image) for _ in range(2))
        # The same call again: attention as it was, which here is what it is.
        assert alike(first, expected) and alike(second, expected)
        later = call | {"noisy_latents": call["noisy_latents"] + 1}
        alone(backbone, call, image)
        skipped = alone(backbone, later, image)
    backbone.disable_cache()
    exact = denoiser(image_latents=image, anchors=anchors, **later)
    assert skipped.isfinite().all() and not alike(skipped, exact)
