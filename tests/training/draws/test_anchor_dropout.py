import math
from dataclasses import replace

import pytest
import torch

from anchorweave.datasets.training_clip import TrainingClip
from training.draws.anchor_dropout import AnchorDropoutConfig, draw_kept, drop_anchors

N, t, C, h, w = 4, 13, 2, 4, 6
T = 4 * (t - 1) + 1
COUNT = 4000
ALWAYS = {
    "frames": AnchorDropoutConfig(1.0, 0.0, 0.0),
    "subset": AnchorDropoutConfig(0.0, 1.0, 0.0),
    "only_first": AnchorDropoutConfig(0.0, 0.0, 1.0),
    "none": AnchorDropoutConfig(0.0, 0.0, 0.0),
}


def a_clip(seed=0):
    make = torch.Generator().manual_seed(seed)
    return TrainingClip(
        name="a",
        latents=torch.randn(t, C, h, w, generator=make),
        image_latents=torch.randn(1, C, h, w, generator=make),
        prompt_features=torch.randn(5, 7, generator=make),
        anchor_latents=torch.randn(N, t, C, h, w, generator=make),
        visible_tokens=torch.rand(N, t, h // 2, w // 2, generator=make) > 0.3,
        target2source=torch.randn(N, T, 4, 4, generator=make),
        target2first=torch.randn(T, 4, 4, generator=make),
        reference_latents=torch.randn(3, C, h, w, generator=make),
        reference2first=torch.randn(3, 4, 4, generator=make),
        coverage=0.1 + 0.9 * torch.rand(N, t, h // 2, w // 2, generator=make),
    )


def many(config, count=COUNT, seed=0, slots=N, frames=t):
    make = torch.Generator().manual_seed(seed)
    return [draw_kept(config, slots, frames, make) for _ in range(count)]


def tolerance(share, count=COUNT):
    """Five standard deviations of a binomial share."""
    return 5 * math.sqrt(share * (1 - share) / count)


def test_each_kind_is_drawn_in_its_share():
    config = AnchorDropoutConfig(0.1, 0.2, 0.3)
    kinds = [kept.kind for kept in many(config)]
    for kind, share in {"frames": 0.1, "subset": 0.2, "only_first": 0.3, "none": 0.4}.items():
        assert abs(kinds.count(kind) / COUNT - share) < tolerance(share), kind


def test_the_released_shares_are_the_default():
    kinds = [kept.kind for kept in many(AnchorDropoutConfig())]
    for kind in ("frames", "subset", "only_first", "none"):
        assert abs(kinds.count(kind) / COUNT - 0.25) < tolerance(0.25), kind


def test_frames_hides_6_of_12_of_every_anchor_and_never_the_first():
    kept = torch.stack([one.frames for one in many(ALWAYS["frames"])])
    assert kept[:, :, 0].all()
    assert ((~kept).sum(dim=2) == 6).all()
    # each later frame as often as any other, in every slot
    share = kept[:, :, 1:].double().mean(0)
    assert (share - 0.5).abs().max() < tolerance(0.5)
    # slots do not share what they hide
    assert (kept[:, 0] == kept[:, 1]).all(dim=1).double().mean() < 0.01


def test_subset_keeps_whole_slots_1_to_all_of_them():
    kept = torch.stack([one.frames for one in many(ALWAYS["subset"])])
    whole = kept.all(dim=2)
    assert torch.equal(whole, kept.any(dim=2))
    counts = torch.bincount(whole.sum(dim=1), minlength=N + 1) / COUNT
    assert counts[0] == 0
    assert (counts[1:] - 1 / N).abs().max() < tolerance(1 / N)
    # (1 + 2 + 3 + 4) / 4 of 4 slots are kept, each as often as any other
    assert (whole.double().mean(0) - 0.625).abs().max() < tolerance(0.625)


def test_only_first_keeps_slot_0_up_to_a_point_between_a_quarter_and_three_quarters():
    kept = torch.stack([one.frames for one in many(ALWAYS["only_first"])])
    assert not kept[:, 1:].any()
    lengths = kept[:, 0].sum(dim=1)
    # 3 to 9 of 13, as was counted in the released code
    assert set(lengths.tolist()) == set(range(3, 10))
    for one, length in zip(kept[:, 0], lengths, strict=True):
        assert one[:length].all() and not one[length:].any()


def test_none_keeps_everything():
    assert all(one.frames.all() for one in many(ALWAYS["none"], count=10))


@pytest.mark.parametrize("kind", ["frames", "only_first"])
@pytest.mark.parametrize("frames", [1, 2, 3])
def test_short_clips_keep_their_first_frame(kind, frames):
    for one in many(ALWAYS[kind], count=20, frames=frames):
        assert one.frames[0, 0]
        assert one.frames[0].all() == (frames == 1 or (kind == "only_first" and frames == 1))


def test_how_much_is_hidden_is_as_configured():
    for share, hidden in ((0.25, 3), (0.0, 1), (1.0, 12)):
        config = replace(ALWAYS["frames"], hidden_frames=share)
        assert all(((~one.frames).sum(1) == hidden).all() for one in many(config, count=5))
    config = replace(ALWAYS["only_first"], cut_from=0.5, cut_to=0.5)
    assert all(one.frames[0].sum() == 6 for one in many(config, count=5))


def test_a_clip_without_anchors_has_nothing_to_hide():
    for config in ALWAYS.values():
        assert draw_kept(config, 0, t, torch.Generator()).frames.shape == (0, t)


@pytest.mark.parametrize("kind", ["frames", "subset", "only_first"])
@pytest.mark.parametrize("hidden", ["zero", "black"])
def test_hidden_is_hidden_in_latents_and_tokens_alike_and_poses_stay(kind, hidden):
    clip, config = a_clip(), replace(ALWAYS[kind], hidden=hidden)
    black = torch.full((t, C, h, w), -0.7) + torch.arange(t)[:, None, None, None]
    for one in many(config, count=8, seed=3):
        before = clip.anchor_latents.clone()
        seen = drop_anchors(clip, one.frames, config, black)
        assert torch.equal(clip.anchor_latents, before)
        for n in range(N):
            for i in range(t):
                if one.frames[n, i]:
                    assert torch.equal(seen.anchor_latents[n, i], clip.anchor_latents[n, i])
                    assert torch.equal(seen.visible_tokens[n, i], clip.visible_tokens[n, i])
                    assert torch.equal(seen.coverage[n, i], clip.coverage[n, i])
                else:
                    blank = black[i] if hidden == "black" else torch.zeros(C, h, w)
                    assert torch.equal(seen.anchor_latents[n, i], blank)
                    assert not seen.visible_tokens[n, i].any() and not seen.coverage[n, i].any()
        for untouched in ("latents", "image_latents", "prompt_features", "target2first"):
            assert getattr(seen, untouched) is getattr(clip, untouched)
        assert torch.equal(seen.target2source, clip.target2source)


@pytest.mark.parametrize("kind", ["frames", "subset", "only_first"])
def test_removed_slots_leave_the_clip_and_the_others_are_the_same(kind):
    clip, config = a_clip(), ALWAYS[kind]
    for one in many(config, count=8, seed=5):
        stay = one.frames.any(dim=1)
        removed = drop_anchors(clip, one.frames, replace(config, slots="removed"))
        hidden = drop_anchors(clip, one.frames, config)
        assert len(removed.anchor_latents) == stay.sum() >= 1
        for name in ("anchor_latents", "visible_tokens", "target2source", "coverage"):
            assert torch.equal(getattr(removed, name), getattr(hidden, name)[stay]), name


def test_black_is_asked_for_and_must_fit():
    clip, config = a_clip(), replace(ALWAYS["frames"], hidden="black")
    kept = torch.zeros(N, t, dtype=torch.bool)
    with pytest.raises(ValueError, match="black"):
        drop_anchors(clip, kept, config)
    with pytest.raises(ValueError, match="same size"):
        drop_anchors(clip, kept, config, torch.zeros(1, C, h, w))


@pytest.mark.parametrize(
    "values",
    [
        {"frames": -0.1},
        {"frames": 0.5, "subset": 0.5, "only_first": 0.1},
        {"hidden_frames": 1.5},
        {"cut_from": 0.8},
        {"cut_to": 1.1},
    ],
)
def test_contradicting_shares_are_refused(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        AnchorDropoutConfig(**values)


@pytest.mark.parametrize("hidden", ["zero", "black"])
@pytest.mark.parametrize("slots", ["hidden", "removed"])
def test_without_anchors_a_clip_stays_as_it_is(hidden, slots):
    full = a_clip()
    names = ("anchor_latents", "visible_tokens", "target2source", "coverage")
    clip = replace(full, **{name: getattr(full, name)[:0] for name in names})
    config = AnchorDropoutConfig(1.0, 0.0, 0.0, slots=slots, hidden=hidden)
    kept = draw_kept(config, 0, t, torch.Generator())
    assert drop_anchors(clip, kept.frames, config) is clip
