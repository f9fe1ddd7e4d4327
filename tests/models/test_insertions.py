import pytest
import torch

from anchorweave.models.insertions import add_features
from tests.alike import alike
from tests.models.small import S, h, small_backbone, small_call, small_image, t, w

L, D = t * (h // 2) * (w // 2), 64


def features(count, groups=L, seed=0, B=1):
    make = torch.Generator().manual_seed(seed)
    return [torch.randn(B, groups, D, generator=make) for _ in range(count)]


def run(backbone, B=1):
    call = small_call(backbone, B)
    return backbone(
        hidden_states=torch.cat([call["noisy_latents"], small_image(B)], dim=2),
        encoder_hidden_states=call["prompt_features"],
        timestep=call["timestep"],
        image_rotary_emb=call["positions"],
        return_dict=False,
    )[0]


def by_hand(backbone, before, after):
    """The backbone's forward written out, with the two additions where the paper puts them."""
    call = small_call(backbone)
    hidden = torch.cat([call["noisy_latents"], small_image()], dim=2)
    time = backbone.time_embedding(backbone.time_proj(call["timestep"]))
    joint = backbone.patch_embed(call["prompt_features"], hidden)
    text, image = joint[:, :S], joint[:, S:]
    for i, block in enumerate(backbone.transformer_blocks):
        if i < len(before):
            image = image + before[i]
        image, text = block(image, text, time, call["positions"])
        if i < len(after):
            image = image + after[i]
    image = backbone.proj_out(backbone.norm_out(backbone.norm_final(image), temb=time))
    image = image.reshape(1, t, h // 2, w // 2, 4, 2, 2)
    return image.permute(0, 1, 4, 2, 5, 3, 6).reshape(1, t, 4, h, w)


def test_adds_before_and_behind_the_right_blocks():
    backbone = small_backbone()
    before, after = features(2, seed=1), features(2, seed=2)
    with torch.no_grad():
        for pair in ((before, after), (before, []), ([], after), (before[:1], after)):
            with add_features(backbone, *pair):
                ours = run(backbone)
            torch.testing.assert_close(ours, by_hand(backbone, *pair))
            assert not torch.allclose(ours, run(backbone), atol=1e-3)


def test_a_feature_per_frame_is_the_same_as_one_repeated_for_its_tokens():
    backbone = small_backbone()
    per_frame = features(2, groups=t)
    with torch.no_grad():
        with add_features(backbone, before=per_frame):
            ours = run(backbone)
        repeated = [feature.repeat_interleave(L // t, dim=1) for feature in per_frame]
        with add_features(backbone, before=repeated):
            assert alike(ours, run(backbone))


def test_nothing_is_left_behind_not_even_after_an_error():
    backbone = small_backbone()
    blocks, names = list(backbone.transformer_blocks), list(backbone.state_dict())
    with torch.no_grad():
        alone = run(backbone)
        with pytest.raises(RuntimeError, match="on purpose"):
            with add_features(backbone, features(2), features(2)):
                raise RuntimeError("on purpose")
        with pytest.raises(ValueError, match="do not match image tokens"):
            with add_features(backbone, features(2, groups=L - 1)):
                run(backbone)
        assert alike(run(backbone), alone)
    assert all(a is b for a, b in zip(blocks, backbone.transformer_blocks, strict=True))
    assert list(backbone.state_dict()) == names
    assert not any(block._forward_hooks or block._forward_pre_hooks for block in blocks)


def test_insertions_nest():
    backbone = small_backbone()
    first, second = features(1, seed=1), features(1, seed=2)
    with torch.no_grad():
        with add_features(backbone, after=first), add_features(backbone, after=second):
            nested = run(backbone)
        with add_features(backbone, after=[first[0] + second[0]]):
            torch.testing.assert_close(nested, run(backbone))


def test_gradient_checkpointing_recomputes_with_the_features_still_in():
    gradients = []
    for checkpointed in (False, True):
        backbone = small_backbone()
        if checkpointed:
            backbone.enable_gradient_checkpointing()
        inputs = [part.requires_grad_() for part in features(2, seed=1) + features(2, seed=2)]
        with add_features(backbone, inputs[:2], inputs[2:]):
            out = run(backbone)
        # Backward comes after the context is left, as it does in training.
        out.square().sum().backward()
        gradients.append([part.grad for part in inputs + list(backbone.parameters())])
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, checkpointed)


def test_works_under_autocast():
    backbone = small_backbone()
    with torch.no_grad():
        with add_features(backbone, features(2), features(2)):
            whole = run(backbone)
            with torch.autocast("cpu", torch.bfloat16):
                half = run(backbone)
    assert (whole - half.float()).abs().max() < 0.1


def test_features_that_do_not_fit_are_named():
    backbone = small_backbone()
    with pytest.raises(ValueError, match="4 layers"):
        with add_features(backbone, features(4)):
            pass
    with pytest.raises(ValueError, match="do not match image tokens"):
        with add_features(backbone, features(1, B=2)):
            run(backbone)
