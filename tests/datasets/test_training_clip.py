import pytest
import torch

from anchorweave.datasets.training_clip import TrainingClip, collate


def clip(name, anchors=2, size=(4, 6), seed=0):
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
    )


def test_row_i_of_a_batch_is_clip_i():
    clips = [clip("a", seed=1), clip("b", seed=2)]
    batch = collate(clips)
    assert batch.names == ("a", "b")
    for i, one in enumerate(clips):
        assert torch.equal(batch.latents[i], one.latents)
        assert torch.equal(batch.anchors.latents[i], one.anchor_latents)
        assert torch.equal(batch.anchors.visible_tokens[i], one.visible_tokens)


def test_clips_of_different_shapes_are_named():
    with pytest.raises(ValueError, match="latents.*'a'.*'b'"):
        collate([clip("a"), clip("b", size=(4, 8))])
    with pytest.raises(ValueError, match="anchor_latents"):
        collate([clip("a"), clip("b", anchors=3)])
