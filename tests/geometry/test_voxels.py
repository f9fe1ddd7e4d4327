import pytest
import torch

from anchorweave.geometry.point_cloud import PointCloud
from anchorweave.geometry.voxels import FIRST_ROOM, FusedCloud, Voxels


def cloud(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    points = 3 * torch.randn(count, 3, generator=generator)
    return PointCloud(points, torch.rand(count, 3, generator=generator))


def test_voxels_are_numbered_in_the_order_in_which_they_are_met():
    voxels = Voxels(0.5)
    points = torch.tensor([[0.1, 0.1, 0.1], [-0.1, 0.1, 0.1], [0.4, 0.4, 0.4], [0.6, 0.1, 0.1]])
    assert voxels.add(points).tolist() == [0, 1, 0, 2] and len(voxels) == 3
    assert voxels.add(points[1:]).tolist() == [1, 0, 2] and len(voxels) == 3
    elsewhere = torch.tensor([[0.1, 0.1, 0.7], [0.9, 0.2, 0.3]])
    assert voxels.find(elsewhere).tolist() == [-1, 2] and len(voxels) == 3


def test_points_far_away_and_close_together_are_told_apart():
    voxels = Voxels(1e-3)
    points = torch.tensor([[1e6, 0.0, 0.0], [-1e6, 0.0, 0.0], [0.0, 1e6, 0.0], [0.0, 0.0, 1e-3]])
    assert voxels.add(points).tolist() == [0, 1, 2, 3]


def test_fusing_part_by_part_against_a_plain_loop():
    parts = [cloud(700, seed) for seed in range(4)]
    fused, voxels = FusedCloud(0.4), {}
    for part in parts:
        fused.add(part)
        for point, colour in zip(part.points, part.colours, strict=True):
            key = tuple(torch.floor(point / 0.4).int().tolist())
            voxels.setdefault(key, []).append(torch.cat([point, colour]))
    expected = torch.stack([torch.stack(values).mean(0) for values in voxels.values()])
    got = fused.cloud()
    # More than there was room for at first: the tables were made again.
    assert len(fused) == len(voxels) > FIRST_ROOM
    torch.testing.assert_close(torch.cat([got.points, got.colours], 1), expected)


def test_adding_changes_no_cloud_that_was_given_out():
    fused = FusedCloud(0.4)
    fused.add(cloud(50))
    before = fused.cloud()
    kept = before.points.clone()
    fused.add(cloud(50))
    fused.add(cloud(50, seed=1))
    assert torch.equal(before.points, kept)


def test_nothing_fused_is_an_empty_cloud():
    fused = FusedCloud(1.0)
    fused.add(PointCloud(torch.zeros(0, 3), torch.zeros(0, 3)))
    assert len(fused) == 0 and fused.cloud().points.shape == (0, 3)


@pytest.mark.parametrize("side", [0.0, -1.0, float("nan"), float("inf")])
def test_a_side_that_is_none_is_refused(side):
    with pytest.raises(ValueError, match="voxel side must be positive"):
        FusedCloud(side)


def test_a_point_that_is_nowhere_is_refused():
    with pytest.raises(ValueError, match="NaN or infinite"):
        Voxels(1.0).add(torch.tensor([[0.0, float("nan"), 0.0]]))
