import pytest
import torch

from anchorweave.geometry.cameras import Cameras, intrinsics
from anchorweave.geometry.point_cloud import (
    PointCloud,
    cloud_from_frame,
    depth_edges,
    load_ply,
    save_ply,
)


def cloud(count=50, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return PointCloud(torch.randn(count, 3, generator=generator), torch.rand(count, 3))


def test_cloud_of_a_frame_keeps_valid_pixels_in_raster_order():
    depth = torch.tensor([[1.0, 0.0], [2.0, 3.0]])
    frame = torch.arange(12.0).reshape(3, 2, 2) / 12
    camera = Cameras(torch.eye(4), intrinsics(1.0, 1.0, 1.0, 1.0), (2, 2))
    got = cloud_from_frame(frame, depth, camera)
    expected = torch.tensor([[-0.5, -0.5, 1.0], [-1.0, 1.0, 2.0], [1.5, 1.5, 3.0]])
    torch.testing.assert_close(got.points, expected)
    torch.testing.assert_close(got.colours[1], frame[:, 1, 0])


def test_depth_edges_mark_both_sides_of_a_jump_and_ignore_invalid_pixels():
    depth = torch.tensor([[1.0, 1.03, 2.0, 2.0, 0.0, 5.0]])
    assert depth_edges(depth, 0.04).tolist() == [[False, True, True, False, False, False]]
    assert not depth_edges(depth, 2.0).any()
    assert torch.equal(depth_edges(depth.mT, 0.04), depth_edges(depth, 0.04).mT)


def test_a_flying_pixel_halfway_is_an_edge_and_a_slanted_wall_is_none():
    flying = torch.tensor([[1.0, 1.0, 1.3, 2.0, 2.0]])
    assert depth_edges(flying, 0.04).tolist() == [[False, True, True, True, False]]
    # A wall at a grazing angle: 1 / depth is linear, each step in depth is above 4 %.
    wall = 1 / torch.linspace(1.0, 0.3, 12)[None]
    assert (wall.diff() > 0.04 * wall[:, :-1]).all()
    assert not depth_edges(wall, 0.04).any()
    # Beside a jump a steep pixel cannot be told from a flying one, and is given up as well.
    wall[0, 6:] *= 2
    assert depth_edges(wall, 0.04)[0].nonzero().flatten().tolist() == [4, 5, 6, 7]


def test_a_jump_between_two_lone_pixels_is_an_edge():
    assert depth_edges(torch.tensor([[0.0, 1.0, 2.0, 0.0]]), 0.04).sum() == 2


def test_ply_round_trip(tmp_path):
    source = cloud(15)
    save_ply(source, tmp_path / "a.ply")
    loaded = load_ply(tmp_path / "a.ply")
    torch.testing.assert_close(loaded.points, source.points)
    torch.testing.assert_close(loaded.colours, source.colours, atol=0.5 / 255 + 1e-6, rtol=0)
    assert [p.name for p in tmp_path.iterdir()] == ["a.ply"]


def test_ply_that_is_missing_or_cut_short(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.ply"):
        load_ply(tmp_path / "nothing.ply")
    (tmp_path / "cut.ply").write_bytes(b"ply\nformat binary")
    with pytest.raises(ValueError, match="cut.ply holds no points"):
        load_ply(tmp_path / "cut.ply")
    with pytest.raises(OSError, match="could not write"):
        save_ply(cloud(), tmp_path / "no" / "folder.ply")
