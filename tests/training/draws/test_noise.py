import math
from dataclasses import replace

import pytest
import torch

from anchorweave.diffusion.timesteps import TimestepConfig
from anchorweave.diffusion.v_prediction import VPrediction
from tests.training.clips import PROCESS
from tests.training.draws.test_anchor_dropout import a_clip
from training.draws.anchor_dropout import AnchorDropoutConfig
from training.draws.noise import DrawConfig, draw, sample_generator

TOTAL = PROCESS.total
CLIP = a_clip()
EMPTY = torch.zeros_like(CLIP.prompt_features) - 3
# As many references as statistics take.
REFERRING = replace(
    CLIP,
    reference_latents=CLIP.reference_latents.repeat(20, 1, 1, 1),
    reference2first=CLIP.reference2first.repeat(20, 1, 1),
)
WITHOUT = DrawConfig(anchors=AnchorDropoutConfig(0.0, 0.0, 0.0), caption_dropout=0.0)


def one(place=0, step=0, seed=0, config=None, clip=CLIP):
    config = config or DrawConfig()
    return draw(clip, config, PROCESS, sample_generator(seed, step, place), EMPTY)


def same(a, b):
    return (
        torch.equal(a.noise, b.noise)
        and torch.equal(a.image_noise, b.image_noise)
        and torch.equal(a.timestep, b.timestep)
        and torch.equal(a.anchors.latents, b.anchors.latents)
        and torch.equal(a.prompt_features, b.prompt_features)
    )


def caption_dropped(sample):
    return torch.equal(sample.prompt_features[0], EMPTY)


def test_the_same_number_gives_the_same_draw_and_any_other_another():
    first = one(1, 2, 3)
    assert same(first, one(1, 2, 3))
    for other in (one(2, 2, 3), one(1, 3, 3), one(1, 2, 4), one(2, 1, 3)):
        assert not torch.equal(first.noise, other.noise)


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_world_size_and_batch_layout_do_not_matter(world_size):
    reference = [one(place, step=7) for place in range(4)]
    per_rank = 4 // world_size
    for rank in reversed(range(world_size)):
        for i in reversed(range(per_rank)):
            torch.manual_seed(1000 * rank + i)  # what else happens in a process does not matter
            place = rank * per_rank + i
            assert same(one(place, step=7), reference[place])


def test_two_ranks_draw_different_noise():
    a, b = one(place=0).noise, one(place=1).noise
    assert not torch.equal(a, b)
    correlation = torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]
    assert abs(correlation) < 5 / math.sqrt(a.numel())


def test_the_global_random_state_is_left_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one()
    assert torch.equal(torch.get_rng_state(), before)


def test_one_switch_leaves_what_the_others_draw():
    full = DrawConfig(caption_dropout=0.5)
    switched = {
        "image_noise": replace(full, image_noise=None),
        "caption": replace(full, caption_dropout=0.0),
        "anchors": replace(full, anchors=AnchorDropoutConfig(0.0, 0.0, 0.0)),
        "timestep": replace(full, timestep=TimestepConfig("logit_normal", 0.2, 0.8)),
    }
    for place in range(20):
        reference = one(place, config=full)
        for name, config in switched.items():
            other = one(place, config=config)
            assert torch.equal(other.noise, reference.noise)
            if name != "image_noise":
                assert torch.equal(other.image_noise, reference.image_noise)
            if name != "timestep":
                assert other.timestep == reference.timestep
            if name != "caption":
                assert caption_dropped(other) == caption_dropped(reference)
            if name != "anchors":
                assert torch.equal(other.anchors.latents, reference.anchors.latents)


def test_noise_is_standard_normal():
    noise = torch.stack([one(place, config=WITHOUT).noise for place in range(50)])
    assert noise.dtype == torch.float32 and noise.shape[2:] == CLIP.latents.shape
    count = noise.numel()
    assert abs(noise.mean()) < 5 / math.sqrt(count)
    assert abs(noise.var() - 1) < 5 * math.sqrt(2 / count)


def test_image_noise_has_a_log_normal_level_of_its_own_for_each_sample():
    unit = replace(WITHOUT, image_noise=0.0, image_noise_spread=0.0)
    ratios = [
        one(place, config=WITHOUT).image_noise / one(place, config=unit).image_noise
        for place in range(400)
    ]
    levels = torch.stack(ratios).log().flatten(1)
    assert (levels - levels[:, :1]).abs().max() < 1e-4
    levels = levels[:, 0]
    assert abs(levels.mean() + 3) < 5 * 0.5 / math.sqrt(400)
    assert abs(levels.std() - 0.5) < 5 * 0.5 / math.sqrt(2 * 400)


def test_image_noise_can_be_off_or_of_one_level():
    off = one(config=replace(WITHOUT, image_noise=None))
    assert torch.equal(off.image_noise[0], torch.zeros_like(CLIP.image_latents))
    sharp = replace(WITHOUT, image_noise=math.log(0.25), image_noise_spread=0.0)
    wide = replace(WITHOUT, image_noise=0.0, image_noise_spread=0.0)
    torch.testing.assert_close(4 * one(config=sharp).image_noise, one(config=wide).image_noise)


def test_captions_are_dropped_in_their_share_and_replaced():
    config, count = replace(WITHOUT, caption_dropout=0.3), 400
    draws = [one(place, config=config) for place in range(count)]
    dropped = [caption_dropped(d) for d in draws]
    assert abs(sum(dropped) / count - 0.3) < 5 * math.sqrt(0.3 * 0.7 / count)
    for d in draws:
        assert caption_dropped(d) or torch.equal(d.prompt_features[0], CLIP.prompt_features)
        assert torch.equal(d.anchors.latents[0], CLIP.anchor_latents)


def test_without_switches_the_clip_is_as_it_came():
    drawn = one(config=WITHOUT)
    assert drawn.names == (CLIP.name,) and not drawn.alone.item()
    for ours, its in (
        (drawn.latents, CLIP.latents),
        (drawn.image_latents, CLIP.image_latents),
        (drawn.prompt_features, CLIP.prompt_features),
        (drawn.anchors.latents, CLIP.anchor_latents),
        (drawn.anchors.visible_tokens, CLIP.visible_tokens),
        (drawn.anchors.target2source, CLIP.target2source),
        (drawn.references.latents, CLIP.reference_latents),
        (drawn.references.reference2first, CLIP.reference2first),
    ):
        assert torch.equal(ours[0], its)
    assert drawn.references.present.all()


def test_hidden_anchors_follow_what_is_said_of_them():
    for kind in ("frames", "only_first"):
        shares = {"frames": 0.0, "subset": 0.0, "only_first": 0.0, kind: 1.0}
        config = replace(WITHOUT, anchors=AnchorDropoutConfig(**shares))
        for place in range(20):
            shown = one(place, config=config).anchors.latents[0]
            assert not torch.equal(shown, CLIP.anchor_latents)
            assert torch.equal(shown[0, 0], CLIP.anchor_latents[0, 0])


def test_timesteps_stay_where_they_are_asked_for():
    config = replace(WITHOUT, timestep=TimestepConfig(low=0.2, high=0.21))
    met = {one(place, config=config).timestep.item() for place in range(200)}
    assert met == set(range(200, 210))


def test_a_missing_or_unfitting_empty_prompt_is_refused():
    make = torch.Generator()
    with pytest.raises(ValueError, match="empty prompt"):
        draw(CLIP, DrawConfig(), PROCESS, make)
    with pytest.raises(ValueError, match="clip a"):
        draw(CLIP, DrawConfig(), PROCESS, make, EMPTY[:2])


def noised(between, place=0, config=WITHOUT, clip=REFERRING):
    config = replace(config, reference_noise=between)
    return draw(clip, config, PROCESS, sample_generator(0, 0, place), EMPTY)


def test_references_are_noised_by_the_schedule():
    clean = REFERRING.reference_latents
    for steps in (1, 30, TOTAL):
        a = PROCESS.alpha_bar[steps - 1]
        drawn = noised((steps, steps))
        noise = (drawn.references.latents[0] - a.sqrt() * clean) / (1 - a).sqrt()
        count = noise.numel()
        assert abs(noise.mean()) < 5 / math.sqrt(count)
        assert abs(noise.var() - 1) < 5 * math.sqrt(2 / count)
        assert torch.equal(drawn.references.reference2first[0], REFERRING.reference2first)
        assert torch.equal(drawn.anchors.latents[0], REFERRING.anchor_latents)
        for name in ("latents", "image_latents"):
            assert torch.equal(getattr(drawn, name)[0], getattr(REFERRING, name))


def test_all_references_of_a_sample_have_one_level_and_all_levels_are_drawn():
    white = replace(REFERRING, reference_latents=torch.zeros_like(REFERRING.reference_latents))
    config, count = replace(WITHOUT, reference_noise=(0, 3)), 300
    process = VPrediction(1 - torch.tensor([1e-4, 1e-2, 1.0]))
    met = torch.zeros(4)
    for place in range(count):
        generator = sample_generator(0, 0, place)
        drawn = draw(white, config, process, generator)
        variances = drawn.references.latents[0].var(dim=(1, 2, 3))  # [R]
        steps = 3 + (variances.log10() / 2).round().clamp(min=-3).long()
        assert torch.equal(steps, steps[:1].expand_as(steps))
        met[steps[0]] += 1
    assert (met / count - 0.25).abs().max() < 5 * math.sqrt(0.25 * 0.75 / count)


def test_noised_references_leave_everything_else_as_it_was_drawn():
    full = DrawConfig(caption_dropout=0.5, recent_only=0.5)
    for place in range(20):
        without, with_noise = noised((0, 0), place, full), noised((5, 50), place, full)
        assert same(without, with_noise)
        again = noised((5, 50), place, full)
        latents = with_noise.references.latents
        assert torch.equal(latents, again.references.latents)
        assert latents.shape == without.references.latents.shape
        assert not torch.equal(latents, without.references.latents)


def test_without_references_there_is_nothing_to_noise():
    none = replace(
        CLIP, reference_latents=CLIP.reference_latents[:0], reference2first=CLIP.reference2first[:0]
    )
    assert noised((5, 50), clip=none).references.latents.shape == (1, 0, *CLIP.latents.shape[1:])
    assert torch.equal(noised((0, 0)).references.latents[0], REFERRING.reference_latents)


def test_more_steps_of_noise_than_there_are_are_refused():
    with pytest.raises(ValueError, match="up to 1001 steps .*schedule that was given has 1000"):
        noised((0, TOTAL + 1))
    for between in ((-1, 5), (6, 5)):
        with pytest.raises(ValueError, match="reference_noise=.*0 <= from <= to"):
            DrawConfig(reference_noise=between)


def test_negative_numbers_are_refused():
    with pytest.raises(ValueError):
        sample_generator(-1, 0, 0)


@pytest.mark.parametrize("values", [{"caption_dropout": 1.5}, {"image_noise_spread": -1.0}])
def test_values_outside_their_range_are_refused(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        DrawConfig(**values)


def test_the_share_of_samples_that_are_alone_changes_nothing_else():
    config = replace(DrawConfig(), alone=0.25)
    drawn = [one(place, config=config) for place in range(400)]
    assert sum(sample.alone for sample in drawn) == pytest.approx(100, abs=35)
    for place, sample in enumerate(drawn[:20]):
        assert same(sample, one(place)) and not one(place).alone
    with pytest.raises(ValueError, match="alone=1.5 is a share"):
        DrawConfig(alone=1.5)
