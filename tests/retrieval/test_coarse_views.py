import pytest
import torch

from anchorweave.geometry.cameras import Cameras, intrinsics
from anchorweave.geometry.projection import unproject
from anchorweave.retrieval import CoarseViews, coarse_views, join_coarse_views


def cameras(count, size):
    K = intrinsics(30.0, 30.0, size[1] / 2, size[0] / 2)
    return Cameras(torch.eye(4).repeat(count, 1, 1), K.expand(count, 3, 3), size)


def test_a_coarse_pixel_takes_the_depth_at_its_centre():
    depth = torch.arange(1.0, 1 + 24 * 40).reshape(1, 24, 40)
    views = coarse_views(depth, cameras(1, (24, 40)), ("a",), downscale=8)
    assert views.depth.shape == (1, 3, 5) and views.cameras.size == (3, 5)
    assert torch.equal(views.depth[0], depth[0, 4::8, 4::8])
    odd = coarse_views(depth, cameras(1, (24, 40)), ("a",), downscale=3)  # 40 / 3 is not whole
    assert odd.depth.shape == (1, 8, 13)
    assert torch.equal(odd.depth[0, 0, :3], depth[0, 1, [1, 4, 7]])


def test_points_of_a_coarse_view_lie_on_the_surface_that_was_seen():
    size, plane = (24, 40), 3.0
    views = coarse_views(torch.full((1, *size), plane), cameras(1, size), ("a",), 8)
    fine = unproject(torch.full(size, plane), cameras(1, size)[0]).reshape(-1, 3)
    coarse = unproject(views.depth[0], views.cameras[0]).reshape(-1, 3)
    nearest = torch.cdist(coarse, fine).amin(dim=1)
    assert nearest.max() < 0.75 * plane / 30.0  # within half a pixel's diagonal


def test_invalid_stays_invalid_and_nothing_is_averaged():
    depth = torch.full((1, 16, 16), 2.0)
    depth[0, :, 8:] = 9.0
    depth[0, :8] = 0.0
    views = coarse_views(depth, cameras(1, (16, 16)), ("a",), 8)
    assert views.depth[0].tolist() == [[0.0, 0.0], [2.0, 9.0]]


def test_an_image_smaller_than_the_downscale_keeps_one_pixel():
    views = coarse_views(torch.ones(2, 3, 4), cameras(2, (3, 4)), ("a", "b"), 16)
    assert views.depth.shape == (2, 1, 1)


def test_joined_in_order():
    parts = [
        coarse_views(torch.full((n, 16, 16), n + 1.0), cameras(n, (16, 16)), tuple("xyz"[:n]), 8)
        for n in (0, 1, 2)
    ]
    views = join_coarse_views(parts)
    assert len(views) == 3 and views.names == ("x", "x", "y")
    assert views.depth[:, 0, 0].tolist() == [2.0, 3.0, 3.0] and len(views.cameras) == 3
    with pytest.raises(ValueError, match="share one image size"):
        join_coarse_views([])


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
def test_bad_depth_is_refused_by_name(bad):
    depth = torch.ones(2, 16, 16)
    depth[1, 3, 3] = bad
    with pytest.raises(ValueError, match=r"frame 1 \(b\) has negative, NaN or infinite"):
        coarse_views(depth, cameras(2, (16, 16)), ("a", "b"), 8)


def test_counts_and_sizes_must_agree():
    with pytest.raises(ValueError, match="cameras are of images of"):
        coarse_views(torch.ones(1, 16, 16), cameras(1, (16, 20)), ("a",), 8)
    with pytest.raises(ValueError, match="'names': 1"):
        CoarseViews(torch.ones(2, 4, 4), cameras(2, (4, 4)), ("a",))
    with pytest.raises(ValueError, match="resize both together"):
        CoarseViews(torch.ones(2, 4, 4), cameras(2, (4, 5)), ("a", "b"))
