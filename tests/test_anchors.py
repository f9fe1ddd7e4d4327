import pytest
import torch

from anchorweave.anchors import (
    AnchorLatents,
    Anchors,
    Retrieved,
    empty_anchors,
    references_for,
    stack_anchors,
)
from anchorweave.geometry.cameras import Cameras


def anchors(slots=2, frames=3, seed=0):
    torch.manual_seed(seed)
    pose = torch.eye(4).repeat(slots, frames, 1, 1)
    pose[..., :3, 3] = torch.randn(slots, frames, 3)
    visible = torch.rand(slots, frames, 4, 6) > 0.5
    return Anchors(torch.rand(slots, frames, 3, 4, 6), visible, pose)


def test_padding_adds_black_invisible_anchors_at_the_identity_pose():
    padded = anchors().padded(4)
    assert len(padded) == 4
    torch.testing.assert_close(padded[:2].video, anchors().video)
    assert not padded.video[2:].any() and not padded.visible[2:].any()
    torch.testing.assert_close(padded.target2source[2:], torch.eye(4).expand(2, 3, 4, 4))
    with pytest.raises(ValueError, match="more anchors than slots"):
        anchors().padded(1)
    full = anchors()
    assert full.padded(2) is full


def test_stacking_in_slots():
    b = anchors(seed=2)
    stacked = stack_anchors([anchors(seed=1), b])
    assert stacked.video.shape == (4, 3, 3, 4, 6)
    torch.testing.assert_close(stacked.target2source[2:], b.target2source)


def test_unit_divides_translations_and_leaves_rotations():
    target2first = torch.eye(4).repeat(3, 1, 1)
    target2first[:, 2, 3] = 6.0
    cameras = Cameras(target2first, torch.eye(3).repeat(3, 1, 1), (4, 6))
    references = references_for(cameras[:1], torch.rand(1, 3, 4, 6), cameras[2:])
    retrieved = Retrieved(anchors(), references, target2first)
    halved = retrieved.in_unit(2.0)
    torch.testing.assert_close(
        halved.references.reference2first[..., :3, 3], references.reference2first[..., :3, 3] / 2
    )
    assert halved.references.cameras is references.cameras
    assert halved.target2first[:, 2, 3].tolist() == [3.0, 3.0, 3.0]
    torch.testing.assert_close(
        halved.anchors.target2source[..., :3, 3], anchors().target2source[..., :3, 3] / 2
    )
    torch.testing.assert_close(halved.target2first[:, :3, :3], target2first[:, :3, :3])
    assert retrieved.target2first[0, 2, 3] == 6.0
    for unit in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="unit of length"):
            retrieved.in_unit(unit)
    assert (retrieved.unit, halved.unit) == (None, 2.0)
    with pytest.raises(ValueError, match="measured in 2.0 already"):
        halved.in_unit(3.0)


def test_no_anchors_at_all():
    assert len(empty_anchors(0, (3, 3, 4, 6))) == 0


def test_guidance_repeats_whole_batches():
    latents = AnchorLatents(
        torch.arange(2.0).reshape(2, 1, 1, 1, 1, 1),
        torch.ones(2, 1, 1, 1, 1, dtype=torch.bool),
        torch.eye(4).expand(2, 1, 1, 4, 4),
        torch.eye(4).expand(2, 1, 4, 4),
    )
    assert latents.repeat(2).latents.flatten().tolist() == [0.0, 1.0, 0.0, 1.0]
    moved = latents.to(dtype=torch.float64)
    assert moved.latents.dtype == torch.float64 and moved.visible_tokens.dtype == torch.bool
