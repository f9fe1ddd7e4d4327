"""Noise on preceding frames, and their anchors where a slot is dropped."""

from dataclasses import replace

import pytest
import torch

from anchorweave.anchors import AnchorLatents, PrecedingLatents
from anchorweave.datasets.training_clip import Samples
from anchorweave.diffusion.flow_matching import FlowMatching
from tests.training.draws.test_anchor_dropout import a_clip
from tests.training.draws.test_noise import PROCESS, WITHOUT
from training.draws.anchor_dropout import AnchorDropoutConfig, drop_anchors
from training.draws.noise import draw, sample_generator


@pytest.fixture(scope="module")
def clip():
    """One with two latent frames ahead of it."""
    clip = a_clip()
    (N, _, *shape), (_, _, *grid) = clip.anchor_latents.shape, clip.visible_tokens.shape
    make = torch.Generator().manual_seed(9)
    anchors = AnchorLatents(
        torch.randn(1, N, 2, *shape, generator=make),
        torch.ones(1, N, 2, *grid, dtype=torch.bool),
        torch.eye(4).repeat(1, N, 5, 1, 1),
        torch.eye(4).repeat(1, 5, 1, 1),
        torch.rand(1, N, 2, *grid, generator=make),
    )
    latents = torch.randn(1, 2, *shape, generator=make)
    return replace(clip, preceding=PrecedingLatents(latents, anchors))


def drawn(clip, **options):
    return draw(clip, replace(WITHOUT, **options), PROCESS, sample_generator(0, 0, 0))


def test_they_are_joined_in_a_batch_and_never_silently_left_out(clip):
    one = drawn(clip)
    both = Samples.join([one, one]).to(dtype=torch.float64)
    assert both.preceding.latents.shape[0] == 2 and both.preceding.latents.dtype == torch.float64
    with pytest.raises(ValueError, match="share the shape of their preceding frames"):
        Samples.join([one, drawn(replace(clip, name="b", preceding=None))])


def test_they_alone_are_noised_and_older_draws_stay(clip):
    before, after = drawn(clip, alone=0.5), drawn(clip, alone=0.5, preceding_noise=(30, 30))
    clean, noised = before.preceding.latents, after.preceding.latents
    a = PROCESS.alpha_bar[29]
    assert (noised - a.sqrt() * clean).std() == pytest.approx(float((1 - a).sqrt()), rel=0.1)
    assert torch.equal(after.references.latents, before.references.latents)
    assert torch.equal(after.noise, before.noise) and torch.equal(after.alone, before.alone)
    assert torch.equal(after.preceding.anchors.latents, before.preceding.anchors.latents)
    # Of flow matching fifty of a thousand steps are a twentieth of the way to noise.
    config, make = replace(WITHOUT, preceding_noise=(50, 50)), sample_generator(0, 0, 0)
    white = replace(clip.preceding, latents=torch.zeros(1, 2, 16, 30, 30))
    found = draw(replace(clip, preceding=white), config, FlowMatching(), make).preceding.latents
    assert found.std() == pytest.approx(0.05, rel=0.03)
    with pytest.raises(ValueError, match=r"by up to 5000 steps \(preceding_noise\)"):
        drawn(clip, preceding_noise=(0, 5000))


@pytest.mark.parametrize(
    "slots, hidden", [("hidden", "zero"), ("hidden", "black"), ("removed", "zero")]
)
def test_a_dropped_slot_is_dropped_ahead_as_well(clip, slots, hidden):
    kept = torch.zeros(clip.anchor_latents.shape[:2], dtype=torch.bool)
    kept[0, :1] = True
    black = torch.full_like(clip.anchor_latents[0], 7.0)
    config = AnchorDropoutConfig(slots=slots, hidden=hidden)
    found = drop_anchors(clip, kept, config, black).preceding
    whole = clip.preceding.anchors
    assert torch.equal(found.latents, clip.preceding.latents)
    # A slot that is hidden in some of the target's frames is whole ahead of them.
    assert torch.equal(found.anchors.latents[:, 0], whole.latents[:, 0])
    if slots == "removed":
        assert found.anchors.target2source.shape[1] == found.anchors.coverage.shape[1] == 1
        return
    assert not found.anchors.visible_tokens[:, 1:].any()
    assert not found.anchors.coverage[:, 1:].any()
    assert (found.anchors.latents[:, 1:] == {"zero": 0.0, "black": 7.0}[hidden]).all()
