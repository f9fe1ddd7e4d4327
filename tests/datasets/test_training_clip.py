from dataclasses import dataclass, replace

import pytest
import torch

from anchorweave.batched import Batched
from anchorweave.datasets.training_clip import Samples, TrainingClip


def clip(name, anchors=2, size=(4, 6), seed=0, references=1):
    generator = torch.Generator().manual_seed(seed)
    return TrainingClip(
        name,
        torch.randn(3, 16, *size, generator=generator),
        torch.randn(1, 16, *size, generator=generator),
        torch.randn(5, 8, generator=generator),
        torch.randn(anchors, 3, 16, *size, generator=generator),
        torch.rand(anchors, 3, size[0] // 2, size[1] // 2, generator=generator) > 0.5,
        torch.eye(4).expand(anchors, 9, 4, 4),
        torch.eye(4).expand(9, 4, 4),
        torch.randn(references, 16, *size, generator=generator),
        torch.eye(4).expand(references, 4, 4),
    )


def batch_of(clips):
    """Samples of which nothing is hidden, without noise."""
    return Samples.join(
        [
            Samples.of(
                one,
                place=place,
                noise=torch.zeros_like(one.latents),
                image_noise=torch.zeros_like(one.image_latents),
                timestep=10 * place,
                alone=False,
            )
            for place, one in enumerate(clips)
        ]
    )


def test_row_i_of_a_batch_is_clip_i():
    clips = [clip("a", seed=1), clip("b", seed=2)]
    batch = batch_of(clips)
    assert batch.names == ("a", "b") and batch.places == (0, 1)
    assert batch.timestep.tolist() == [0, 10]
    for i, one in enumerate(clips):
        assert torch.equal(batch.latents[i], one.latents)
        assert torch.equal(batch.anchors.latents[i], one.anchor_latents)
        assert torch.equal(batch.anchors.visible_tokens[i], one.visible_tokens)


def test_references_are_padded_to_the_clip_that_has_most():
    clips = [clip("a", references=2), clip("b", references=0), clip("c", references=1, seed=1)]
    batch = batch_of(clips).references
    assert batch.present.tolist() == [[True, True], [False, False], [True, False]]
    assert torch.equal(batch.latents[0], clips[0].reference_latents)
    assert torch.equal(batch.latents[2, 0], clips[2].reference_latents[0])
    assert not batch.latents[1].any()
    assert torch.equal(batch.target2first[1], clips[1].target2first)
    none = batch_of([clip("a", references=0)]).references
    assert none.latents.shape == (1, 0, 16, 4, 6) and none.present.shape == (1, 0)


def test_clips_of_different_shapes_are_named():
    with pytest.raises(ValueError, match="latents.*'a'.*'b'"):
        batch_of([clip("a"), clip("b", size=(4, 8))])
    with pytest.raises(ValueError, match="anchor_latents"):
        batch_of([clip("a"), clip("b", anchors=3)])


def test_a_batch_moves_and_repeats_whole():
    batch = batch_of([clip("a", references=2), clip("b", references=0)])
    half = batch.to(dtype=torch.bfloat16)
    assert half.latents.dtype == half.anchors.latents.dtype == torch.bfloat16
    assert half.references.reference2first.dtype == torch.bfloat16
    assert half.timestep.dtype == torch.int64 and half.references.present.dtype == torch.bool
    assert batch.to("meta").anchors.visible_tokens.device.type == "meta"
    twice = batch.references.repeat(2)
    assert torch.equal(twice.present, batch.references.present.repeat(2, 1))


def test_what_one_sample_lacks_is_not_known_of_the_batch():
    share = torch.full((2, 3, 2, 3), 0.5)
    known = replace(clip("a"), coverage=share.expand(clip("a").visible_tokens.shape).clone())
    assert torch.equal(batch_of([known, known]).anchors.coverage[1], known.coverage)
    both = batch_of([known, clip("b")])
    assert both.anchors.coverage is None and both.to("meta").anchors.coverage is None


def test_a_new_tensor_needs_a_field_and_no_other_code():
    """What the README of training/ promises of a subclass's field and of a nested value."""

    @dataclass(frozen=True)
    class More(Batched):
        flow: torch.Tensor
        inner: Batched

    @dataclass(frozen=True)
    class Inner(Batched):
        depth: torch.Tensor

    parts = [More(torch.full((1, 2), b), Inner(torch.full((1, 3), b))) for b in (1.0, 2.0)]
    joined = More.join(parts).to(dtype=torch.float64)
    assert joined.flow.tolist() == [[1.0, 1.0], [2.0, 2.0]] and joined.flow.dtype == torch.float64
    assert joined.inner.depth[:, 0].tolist() == [1.0, 2.0]
