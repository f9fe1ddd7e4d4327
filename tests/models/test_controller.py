from dataclasses import replace

import pytest
import torch
from accelerate import cpu_offload
from peft import LoraConfig

from anchorweave.anchors import AnchorLatents
from anchorweave.models.backbones import family_of
from anchorweave.models.backbones.sizes import OF_CONTROLLER
from anchorweave.models.controller import Constants, WeavingController
from tests.alike import alike
from tests.models.small import (
    SMALL,
    h,
    rows,
    small_anchors,
    small_backbone,
    small_call,
    small_controller,
    t,
    w,
)

OPTIONS = [
    {"fusion": fusion, "attention": attention, "tokens": tokens}
    for fusion in ("pose_guided", "average")
    for attention in ("joint", "separate")
    for tokens in ("all", "visible")
]
L = t * (h // 2) * (w // 2)


@pytest.fixture(scope="module", params=SMALL)
def backbone(request):
    return small_backbone(family=request.param)


def assert_close(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-4)


def one_row(call, b):
    return {
        name: value if name == "positions" else value[b : b + 1] for name, value in call.items()
    }


@pytest.mark.parametrize("options", OPTIONS)
@torch.no_grad()
def test_row_of_a_batch_equals_the_sample_alone(backbone, options):
    controller = small_controller(backbone, **options)
    anchors, call = small_anchors(B=3, N=2), small_call(backbone, B=3)
    together = controller(anchors=anchors, **call)
    assert [tuple(feature.shape) for feature in together] == [(3, L, 64)] * 2
    for b in range(3):
        alone = controller(anchors=rows(anchors, [b]), **one_row(call, b))
        assert_close([feature[b : b + 1] for feature in together], alone)
    assert not torch.allclose(together[0][0], together[0][1])


@pytest.mark.parametrize("options", OPTIONS)
@torch.no_grad()
def test_the_order_of_anchors_means_nothing(backbone, options):
    controller = small_controller(backbone, **options)
    anchors, call = small_anchors(B=2, N=3), small_call(backbone, B=2)
    shuffled = rows(anchors, [0, 1], [2, 0, 1])
    assert_close(controller(anchors=anchors, **call), controller(anchors=shuffled, **call))


@pytest.mark.parametrize("options", OPTIONS)
@torch.no_grad()
def test_no_anchor_and_none_visible_give_the_bias(backbone, options):
    controller = small_controller(backbone, **options)
    call = small_call(backbone, B=2)
    anchors = small_anchors(B=2, N=2)
    unseen = replace(anchors, visible_tokens=torch.zeros_like(anchors.visible_tokens))
    for nothing in (rows(anchors, [0, 1], slice(0, 0)), unseen):
        features = controller(anchors=nothing, **call)
        for feature, project in zip(features, controller.control_proj, strict=True):
            assert alike(feature, project.bias.expand_as(feature))


@torch.no_grad()
def test_every_switch_changes_the_answer(backbone):
    anchors, call = small_anchors(B=1, N=3), small_call(backbone)
    plain = {"fusion": "pose_guided", "attention": "joint", "tokens": "all"}
    answer = small_controller(backbone, **plain)(anchors=anchors, **call)[-1]
    for name, other in {"fusion": "average", "attention": "separate", "tokens": "visible"}.items():
        controller = small_controller(backbone, **plain)
        state = controller.state_dict()
        switched = small_controller(backbone, **(plain | {name: other}))
        switched.load_state_dict({key: state[key] for key in switched.state_dict()})
        assert not torch.allclose(switched(anchors=anchors, **call)[-1], answer, atol=1e-4)


@pytest.mark.parametrize("attention", ["joint", "separate"])
@torch.no_grad()
def test_leaving_out_unseen_tokens_equals_masking_them_everywhere(backbone, attention, monkeypatch):
    anchors, call = small_anchors(B=2, N=3), small_call(backbone, B=2)
    fast = small_controller(backbone, attention=attention, tokens="visible")
    slow = small_controller(backbone, attention=attention, tokens="all")
    slow.load_state_dict(fast.state_dict())
    ours = fast(anchors=anchors, **call)

    arranged = slow.family.arranged

    def masked(place, positions, text):
        seen = anchors.visible_tokens.reshape(place.rows, place.width)
        table, attention = arranged(place, positions, text)
        if isinstance(attention, dict):
            seen = torch.cat([seen.new_ones(place.rows, text), seen], dim=1)
            return table, {"attention_mask": seen[:, None, None]}
        # A row of nothing but masked keys has no numbers; nobody asks for them.
        return table, (seen | ~seen.any(dim=1, keepdim=True))[:, None, None]

    monkeypatch.setattr(slow.family, "arranged", masked)
    assert_close(ours, slow(anchors=anchors, **call))


@torch.no_grad()
def test_separate_anchors_attend_to_themselves_only(backbone):
    """With separate attention an anchor's change stays in its own share of the fused features."""
    anchors, call = small_anchors(N=2), small_call(backbone)
    visible = anchors.visible_tokens.clone()
    visible[:, 0], visible[:, 1] = True, False
    changed = anchors.latents.clone()
    changed[:, 1] += 1.0
    for attention, stays in (("separate", True), ("joint", False)):
        controller = small_controller(backbone, attention=attention)
        before = controller(anchors=replace(anchors, visible_tokens=visible), **call)
        after = controller(
            anchors=replace(anchors, visible_tokens=visible, latents=changed), **call
        )
        assert torch.allclose(before[-1], after[-1], atol=1e-6) is stays


@torch.no_grad()
def test_text_timestep_and_noise_are_read(backbone):
    controller, anchors, call = small_controller(backbone), small_anchors(), small_call(backbone)
    answer = controller(anchors=anchors, **call)[-1]
    for name in ("noisy_latents", "prompt_features", "timestep"):
        other = controller(anchors=anchors, **(call | {name: call[name] + 3}))[-1]
        assert not torch.allclose(answer, other, atol=1e-4), name


def test_gradients_reach_every_parameter(backbone):
    for options in OPTIONS:
        controller = small_controller(backbone, **options).train()
        control = controller(anchors=small_anchors(B=2), **small_call(backbone, B=2))
        camera = controller.camera_features(small_anchors(B=2).target2first)
        sum(feature.square().sum() for feature in control + camera).backward()
        still = [
            name
            for name, parameter in controller.named_parameters()
            if parameter.grad is None or not parameter.grad.any()
        ]
        assert still == []


@pytest.mark.parametrize("tokens", ["all", "visible"])
def test_gradient_checkpointing_changes_no_gradient(backbone, tokens):
    gradients = []
    for checkpointed in (False, True):
        controller = small_controller(backbone, tokens=tokens).train()
        if checkpointed:
            controller.enable_gradient_checkpointing()
        features = controller(anchors=small_anchors(B=2), **small_call(backbone, B=2))
        sum(feature.square().sum() for feature in features).backward()
        used = {n: p.grad for n, p in controller.named_parameters() if p.grad is not None}
        gradients.append(used)
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name])


@torch.no_grad()
def test_bfloat16_and_autocast_stay_near_float32(backbone):
    controller, anchors, call = (
        small_controller(backbone),
        small_anchors(B=2),
        small_call(backbone, 2),
    )
    whole = controller(anchors=anchors, **call)[-1]
    with torch.autocast("cpu", torch.bfloat16):
        autocast = controller(anchors=anchors, **call)[-1]
    half = controller.to(torch.bfloat16)(anchors=anchors, **call)[-1]
    assert half.dtype == torch.bfloat16
    for other in (autocast, half):
        assert (whole - other.float()).abs().max() < 0.1 * whole.abs().max()


def test_sizes_come_from_the_backbone():
    backbone = small_backbone(
        num_attention_heads=3,
        attention_head_dim=16,
        text_embed_dim=20,
        out_channels=6,
        in_channels=12,
        time_embed_dim=24,
        temporal_compression_ratio=2,
        use_rotary_positional_embeddings=False,
    )
    config = WeavingController.from_backbone(backbone, num_layers=1, num_heads=4).config
    expected = {
        "backbone_dim": 48,
        "latent_channels": 6,
        "text_dim": 20,
        "patch_size": 2,
        "temporal_compression": 2,
        "rotary": False,
        "head_dim": 16,
        "time_embed_dim": 24,
        "num_layers": 1,
        "num_heads": 4,
    }
    assert {name: config[name] for name in expected} == expected
    sizes = family_of(backbone).sizes(backbone).of(OF_CONTROLLER)
    assert {name: config[name] for name in sizes} == sizes


@pytest.mark.parametrize("depth, heads, expected", [(42, 48, (16, 16)), (30, 30, (11, 10))])
def test_without_a_wish_the_released_share_is_woven(depth, heads, expected):
    with torch.device("meta"):
        backbone = small_backbone(num_layers=depth, num_attention_heads=heads)
        config = WeavingController.from_backbone(backbone).config
    assert (config.num_layers, config.num_heads) == expected


@torch.no_grad()
def test_a_backbone_without_rotary_table():
    backbone = small_backbone(use_rotary_positional_embeddings=False)
    controller = small_controller(backbone)
    call = small_call(backbone)
    assert call["positions"] is None
    assert controller(anchors=small_anchors(), **call)[0].shape == (1, L, 64)


def test_the_released_size_has_416_84_million_parameters():
    with torch.device("meta"):
        controller = WeavingController()
    assert round(sum(p.numel() for p in controller.parameters()) / 1e6, 2) == 416.84


@torch.no_grad()
def test_saved_and_loaded_it_is_the_same(backbone, tmp_path):
    controller = small_controller(backbone, attention="separate", fusion="average")
    controller.save_pretrained(tmp_path)
    loaded = WeavingController.from_pretrained(tmp_path)
    assert dict(loaded.config)["attention"] == "separate"
    saved = controller.state_dict()
    assert saved.keys() == loaded.state_dict().keys()
    assert all(torch.equal(value, saved[name]) for name, value in loaded.state_dict().items())
    anchors, call = small_anchors(), small_call(backbone)
    # The same numbers in another buffer: some BLAS round by a buffer's alignment.
    for a, b in zip(
        controller(anchors=anchors, **call), loaded(anchors=anchors, **call), strict=True
    ):
        torch.testing.assert_close(a, b)


@torch.no_grad()
def test_a_lora_can_be_added_and_switched_off(backbone):
    controller, anchors, call = small_controller(backbone), small_anchors(), small_call(backbone)
    before = controller(anchors=anchors, **call)[-1]
    config = LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False)
    controller.add_adapter(config, "camera_work")
    assert not torch.allclose(controller(anchors=anchors, **call)[-1], before, atol=1e-5)
    controller.disable_adapters()
    assert alike(controller(anchors=anchors, **call)[-1], before)


@torch.no_grad()
def test_camera_features_survive_offloaded_weights(backbone):
    controller = small_controller(backbone)
    pose = small_anchors().target2first
    expected = controller.camera_features(pose)
    cpu_offload(controller, execution_device=torch.device("cpu"))
    assert controller.device.type == "meta"
    assert_close(controller.camera_features(pose), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_layers": 4}, "cannot weave 4 layers into a backbone of 3"),
        ({"num_layers": 0}, "between 1 and 3"),
        ({"fusion": "sum"}, "fusion is one of pose_guided, average; got 'sum'"),
        ({"attention": "cross"}, "attention is one of"),
        ({"tokens": "some"}, "tokens is one of"),
        ({"holes": "grey"}, "holes is one of black, cracks, filled; got 'grey'"),
    ],
)
def test_a_controller_that_cannot_be_is_refused(backbone, options, message):
    with pytest.raises(ValueError, match=message):
        WeavingController.from_backbone(backbone, **({"num_layers": 2, "num_heads": 2} | options))


def test_a_saved_controller_tells_which_anchors_it_is_for(backbone, tmp_path):
    assert small_controller(backbone).config.holes == "black"
    small_controller(backbone, holes="filled").save_pretrained(tmp_path)
    assert WeavingController.from_pretrained(tmp_path).config.holes == "filled"


def test_a_1_5_backbone_is_refused():
    with pytest.raises(ValueError, match=r"CogVideoX 1\.5"):
        WeavingController.from_backbone(small_backbone(patch_size_t=2), num_layers=2)


def test_anchors_that_do_not_fit_are_named(backbone):
    controller, anchors, call = small_controller(backbone), small_anchors(), small_call(backbone)
    coarse = replace(anchors, visible_tokens=anchors.visible_tokens[..., :1])
    with pytest.raises(ValueError, match="visible_tokens has shape"):
        controller(anchors=coarse, **call)
    fewer = AnchorLatents(
        anchors.latents,
        anchors.visible_tokens,
        anchors.target2source[:, :, :8],
        anchors.target2first[:, :8],
    )
    with pytest.raises(ValueError, match="target2source has shape"):
        controller(anchors=fewer, **call)
    with pytest.raises(ValueError, match="pass its positions"):
        controller(anchors=anchors, **(call | {"positions": None}))
    unaware = small_controller(small_backbone(use_rotary_positional_embeddings=False))
    with pytest.raises(ValueError, match="without a rotary table"):
        unaware(anchors=anchors, **call)
    odd = call | {"noisy_latents": call["noisy_latents"][..., :5]}
    with pytest.raises(ValueError, match="4x5"):
        controller(anchors=anchors, **odd)


@pytest.mark.parametrize("tokens", ["all", "visible"])
@pytest.mark.parametrize("attention", ["joint", "separate"])
@torch.no_grad()
def test_what_is_constant_over_steps_is_made_once_and_changes_nothing(tokens, attention):
    for family in SMALL:
        backbone = small_backbone(family=family)
        controller = small_controller(backbone, tokens=tokens, attention=attention)
        constants, anchors = Constants(), small_anchors(B=2, N=3)
        for seed in (3, 4):
            call = small_call(backbone, B=2, seed=seed)
            kept = controller(anchors=anchors, constants=constants, **call)
            assert_close(kept, controller(anchors=anchors, **call))
        assert len(constants.made) == 1


@pytest.mark.parametrize("tokens", ["all", "visible"])
@torch.no_grad()
def test_a_controller_may_be_told_how_much_of_each_token_was_seen(tokens):
    for family in SMALL:
        backbone = small_backbone(family=family)
        plain = small_controller(backbone, tokens=tokens)
        told = small_controller(backbone, tokens=tokens, coverage=True)
        anchors, call = small_anchors(B=2, N=3), small_call(backbone, B=2)
        share = torch.rand(anchors.visible_tokens.shape, generator=torch.Generator().manual_seed(9))
        known = replace(anchors, coverage=share)
        # A new one is told, and does not listen yet.
        told.load_state_dict(plain.state_dict(), strict=False)
        assert_close(told(anchors=known, **call), plain(anchors=anchors, **call))
        torch.nn.init.normal_(told.coverage_proj.weight)
        one = told(anchors=known, **call)
        other = told(anchors=replace(anchors, coverage=1 - share), **call)
        assert (one[0] - other[0]).abs().max() > 1e-3
        assert_close(told(anchors=known, constants=Constants(), **call), one)
        with pytest.raises(ValueError, match="precompute the clips again"):
            told(anchors=anchors, **call)
