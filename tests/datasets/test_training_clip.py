import pytest
import torch

from anchorweave.datasets.training_clip import TrainingClip, collate


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


def test_row_i_of_a_batch_is_clip_i():
    clips = [clip("a", seed=1), clip("b", seed=2)]
    batch = collate(clips)
    assert batch.names == ("a", "b")
    for i, one in enumerate(clips):
        assert torch.equal(batch.latents[i], one.latents)
        assert torch.equal(batch.anchors.latents[i], one.anchor_latents)
        assert torch.equal(batch.anchors.visible_tokens[i], one.visible_tokens)


def test_references_are_padded_to_the_clip_that_has_most():
    clips = [clip("a", references=2), clip("b", references=0), clip("c", references=1, seed=1)]
    batch = collate(clips).references
    assert batch.present.tolist() == [[True, True], [False, False], [True, False]]
    assert torch.equal(batch.latents[0], clips[0].reference_latents)
    assert torch.equal(batch.latents[2, 0], clips[2].reference_latents[0])
    assert not batch.latents[1].any()
    assert torch.equal(batch.target2first[1], clips[1].target2first)
    none = collate([clip("a", references=0)]).references
    assert none.latents.shape == (1, 0, 16, 4, 6) and none.present.shape == (1, 0)


def test_clips_of_different_shapes_are_named():
    with pytest.raises(ValueError, match="latents.*'a'.*'b'"):
        collate([clip("a"), clip("b", size=(4, 8))])
    with pytest.raises(ValueError, match="anchor_latents"):
        collate([clip("a"), clip("b", anchors=3)])
