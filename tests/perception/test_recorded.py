import pytest
import torch

from anchorweave.clip import Clip
from anchorweave.geometry.cameras import Cameras, intrinsics
from anchorweave.perception.recorded import Recorded


def clip(depth):
    cameras = Cameras(
        torch.eye(4).repeat(len(depth), 1, 1),
        intrinsics(4.0, 4.0, 2.0, 2.0).repeat(len(depth), 1, 1),
        (4, 4),
    )
    names = tuple(f"frame-{i}" for i in range(len(depth)))
    return Clip(torch.zeros(len(depth), 3, 4, 4), depth, cameras, names)


def test_recorded_depth_passes_through_untouched():
    depth = torch.rand(3, 4, 4)
    depth[1, 0] = 0
    taken = clip(depth)
    assert torch.equal(Recorded()(taken).depth, depth)
    assert torch.equal(Recorded()(taken, torch.full_like(depth, 7.0)).depth, depth)


def test_frames_without_depth_are_named():
    depth = torch.ones(12, 4, 4)
    depth[[2, 5]] = 0
    with pytest.raises(
        ValueError, match="2 of 12 frames have no valid depth: frame-2, frame-5; use perception"
    ):
        Recorded()(clip(depth))
    with pytest.raises(ValueError, match="12 of 12 .* frame-7 and 4 more; .*plane_sweep"):
        Recorded()(clip(torch.zeros(12, 4, 4)))
