"""Both renderers against a double loop, a closed form, and each other."""

import math

import pytest
import torch

from anchorweave.geometry.cameras import Cameras, intrinsics
from anchorweave.geometry.projection import project, unproject
from anchorweave.rendering import point_splat, point_splat_numba

RENDERERS = [point_splat.splat_points, point_splat_numba.splat_points]
BOTH = pytest.mark.parametrize("splat_points", RENDERERS, ids=["torch", "numba"])


def turned(angle, shift, size, focal=40.0):
    """A camera at `shift`, turned by `angle` about the vertical."""
    c2w = torch.eye(4)
    c, s = math.cos(angle), math.sin(angle)
    c2w[:3, :3] = torch.tensor([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
    c2w[:3, 3] = torch.tensor(shift)
    K = intrinsics(focal, focal, size[1] / 2, size[0] / 2)
    return Cameras(c2w[None], K[None], size)


def random_cloud(points, seed):
    generator = torch.Generator().manual_seed(seed)
    xyz = torch.rand(points, 3, generator=generator) * torch.tensor([6.0, 4.0, 5.0])
    return xyz - torch.tensor([3.0, 2.0, 1.0]), torch.rand(points, 3, generator=generator)


def three_views(size=(24, 36)):
    views = [turned(a, [x, 0.1, -x], size) for a, x in [(0.0, 0.0), (0.4, 0.5), (-1.0, 0.3)]]
    return Cameras(
        torch.cat([v.c2w for v in views]), torch.cat([v.K for v in views]), views[0].size
    )


def double_loop(points, colours, cameras, radius):
    """The definition, point by point and pixel by pixel, in float64."""
    T, (H, W) = len(cameras), cameras.size
    video, depth = torch.zeros(T, 3, H, W), torch.full((T, H, W), float("inf"))
    for t in range(T):
        pixels, z = project(points.double(), cameras.to(torch.float64)[t])
        for p in range(len(points)):
            if z[p] <= 0:
                continue
            column, row = math.floor(pixels[p, 0]), math.floor(pixels[p, 1])
            for i in range(row - radius, row + radius + 1):
                for j in range(column - radius, column + radius + 1):
                    if 0 <= i < H and 0 <= j < W and z[p] < depth[t, i, j]:
                        depth[t, i, j], video[t, :, i, j] = z[p], colours[p]
    visible = depth.isfinite()
    return video, visible, torch.where(visible, depth, torch.zeros(()))


@BOTH
@pytest.mark.parametrize("radius", [0, 1, 2])
def test_equals_the_double_loop(splat_points, radius):
    points, colours = random_cloud(400, seed=radius)
    got = splat_points(points, colours, three_views(), radius)
    video, visible, depth = double_loop(points, colours, three_views(), radius)
    assert 0.03 < visible.float().mean() < 0.99
    # Where rounding moves a point over a pixel's edge, float32 may differ from float64.
    same = (got.video == video).all(dim=1) & (got.visible == visible)
    assert same.float().mean() > 0.998
    torch.testing.assert_close(got.depth[same], depth[same], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("radius", [0, 1])
@pytest.mark.parametrize("seed", range(5))
def test_the_twins_agree_bit_for_bit(radius, seed):
    points, colours = random_cloud(5000, seed)
    points = points + 1000.0 * seed  # far from the origin, where float32 is coarse
    cameras = three_views()
    cameras.c2w[:, :3, 3] += 1000.0 * seed
    slow, fast = (splat(points, colours, cameras, radius) for splat in RENDERERS)
    assert slow.visible.any()
    for name in ("video", "visible", "depth"):
        assert torch.equal(getattr(slow, name), getattr(fast, name)), name


@BOTH
def test_it_draws_into_tensors_that_it_is_given(splat_points):
    points, colours = random_cloud(300, seed=2)
    drawn = splat_points(points, colours, three_views())
    # A part of larger tensors, full of what was there before.
    H, W = three_views().size
    video, visible = torch.full((2, 5, 3, H, W), 0.5), torch.ones(2, 5, H, W, dtype=torch.bool)
    got = splat_points(points, colours, three_views(), 0, (video[1, 1:4], visible[1, 1:4]))
    assert torch.equal(video[1, 1:4], drawn.video) and torch.equal(visible[1, 1:4], drawn.visible)
    assert torch.equal(got.video, drawn.video) and torch.equal(got.depth, drawn.depth)
    assert (video[0] == 0.5).all() and (video[1, [0, 4]] == 0.5).all()


@BOTH
def test_threads_do_not_change_the_image(splat_points):
    points, colours = random_cloud(3000, seed=1)
    many = splat_points(points, colours, three_views())
    for t in range(3):
        alone = splat_points(points, colours, three_views()[t : t + 1])
        assert torch.equal(alone.video[0], many.video[t])
        assert torch.equal(alone.depth[0], many.depth[t])


@BOTH
def test_a_plane_seen_after_a_sideways_step_shows_a_strip_of_holes(splat_points):
    """Closed form: at depth z a step of s metres moves the image by f * s / z pixels, here 6."""
    H, W, z, focal, shift = 20, 30, 4.0, 40.0, 0.6
    source = turned(0.0, [0.0, 0.0, 0.0], (H, W), focal)
    points = unproject(torch.full((1, H, W), z), source).reshape(-1, 3)
    colours = torch.rand(H * W, 3, generator=torch.Generator().manual_seed(0))
    got = splat_points(points, colours, turned(0.0, [shift, 0.0, 0.0], (H, W), focal))
    moved = 6
    expected = torch.zeros(H, W, dtype=torch.bool)
    expected[:, : W - moved] = True
    assert torch.equal(got.visible[0], expected)
    assert torch.equal(got.depth[0], torch.where(expected, z, 0.0))
    image = colours.reshape(H, W, 3).permute(2, 0, 1)
    assert torch.equal(got.video[0][:, :, : W - moved], image[:, :, moved:])
    assert (got.video[0][:, :, W - moved :] == 0).all()


@BOTH
def test_a_near_plane_hides_a_far_one_and_leaves_its_shadow(splat_points):
    """A square at 2 m before a wall at 4 m: from 0.1 m aside, a 1-pixel strip of wall is unseen."""
    H, W, focal = 20, 40, 40.0
    depth = torch.full((1, H, W), 4.0)
    depth[:, 5:15, 10:20] = 2.0
    source = turned(0.0, [0.0, 0.0, 0.0], (H, W), focal)
    points = unproject(depth, source).reshape(-1, 3)
    got = splat_points(points, torch.ones_like(points), turned(0.0, [0.1, 0, 0], (H, W), focal))
    expected = torch.full((H, W), 4.0)
    expected[:, W - 1 :] = 0.0  # the wall moved left by 1 pixel
    expected[5:15, 8:18] = 2.0  # the square moved left by 2
    expected[5:15, 18:19] = 0.0  # its old place was columns 10-19; the wall behind was never seen
    assert torch.equal(got.depth[0], expected)


@BOTH
def test_rendering_into_the_own_camera_gives_the_image_back(splat_points):
    generator = torch.Generator().manual_seed(3)
    depth = 1 + 4 * torch.rand(1, 30, 44, generator=generator)
    camera = turned(0.7, [1.0, 2.0, 3.0], (30, 44))
    colours = torch.rand(30 * 44, 3, generator=generator)
    got = splat_points(unproject(depth, camera).reshape(-1, 3), colours, camera)
    assert got.visible.all()
    assert torch.equal(got.video[0], colours.reshape(30, 44, 3).permute(2, 0, 1))
    torch.testing.assert_close(got.depth, depth)


@BOTH
def test_the_square_of_a_point_and_its_cut_at_the_border(splat_points):
    camera = turned(0.0, [0.0, 0.0, 0.0], (10, 12), focal=10.0)
    # Lands in row 5, column 6; row 0, column 0; and one column left of the image.
    points = torch.tensor([[0.1, 0.1, 2.0], [-1.19, -0.99, 2.0], [-1.21, 0.1, 2.0]])
    got = splat_points(points, torch.ones(3, 3), camera, radius=1)
    expected = torch.zeros(10, 12, dtype=torch.bool)
    expected[4:7, 5:8] = True
    expected[0:2, 0:2] = True
    expected[4:7, 0:1] = True
    assert torch.equal(got.visible[0], expected)


@BOTH
@pytest.mark.parametrize("radius", [0, 1])
def test_of_points_at_one_depth_the_first_is_shown(splat_points, radius):
    camera = turned(0.0, [0.0, 0.0, 0.0], (6, 6), focal=10.0)
    points = torch.tensor([[0.0, 0.0, 2.0], [0.01, 0.01, 2.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    colours = torch.eye(4)[:, :3].contiguous()
    assert splat_points(points, colours, camera, radius).video[0, :, 3, 3].tolist() == [0, 0, 1]
    shown = splat_points(points[:2], colours[:2], camera, radius).video[0, :, 3, 3]
    assert shown.tolist() == [1, 0, 0]


@BOTH
@pytest.mark.parametrize("radius", [0, 2])
def test_points_behind_at_and_beyond_the_camera_paint_nothing(splat_points, radius):
    camera = turned(0.0, [0.0, 0.0, 0.0], (6, 6))
    nan, inf = float("nan"), float("inf")
    points = torch.tensor(
        [[0.0, 0.0, -1.0], [0.0, 0.0, 0.0], [9.0, 0.0, 1.0], [nan, 0.0, 1.0], [0.0, inf, 1.0]]
    )
    got = splat_points(points, torch.ones(5, 3), camera, radius)
    assert not got.visible.any() and (got.video == 0).all() and (got.depth == 0).all()


@BOTH
def test_an_empty_cloud_and_no_cameras(splat_points):
    nothing = splat_points(torch.zeros(0, 3), torch.zeros(0, 3), three_views())
    assert nothing.video.shape == (3, 3, 24, 36) and not nothing.visible.any()
    none = splat_points(torch.zeros(4, 3), torch.zeros(4, 3), three_views()[:0])
    assert none.video.shape == (0, 3, 24, 36)


@BOTH
def test_bad_input_is_refused(splat_points):
    points, colours = random_cloud(5, seed=0)
    with pytest.raises(ValueError, match="radius must be 0 pixels or more, got -1"):
        splat_points(points, colours, three_views(), -1)
    with pytest.raises(ValueError, match=r"cameras \[T, 4, 4\]"):
        splat_points(points, colours, three_views()[0])
    with pytest.raises(ValueError, match=r"both be \[P, 3\], got \(5, 3\) and \(4, 3\)"):
        point_splat.check_splat(points, colours[:4], three_views(), 0)


def test_numba_refuses_tensors_of_another_device():
    points, colours = (value.to("meta") for value in random_cloud(5, seed=0))
    with pytest.raises(ValueError, match="runs on the CPU, got points on meta"):
        point_splat_numba.splat_points(points, colours, three_views())
