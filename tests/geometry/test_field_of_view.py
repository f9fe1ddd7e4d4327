import math

import pytest
import torch

from anchorweave.geometry.cameras import Cameras, intrinsics
from anchorweave.geometry.field_of_view import frustum_points, seen_share
from anchorweave.geometry.projection import project
from tests.alike import alike

SIZE = (20, 30)


def random_cameras(count, seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    c2w = torch.eye(4, dtype=torch.float64).repeat(count, 1, 1)
    turn = torch.randn(count, 3, 3, generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(turn)
    c2w[:, :3, :3] = q * torch.det(q)[:, None, None]
    c2w[:, :3, 3] = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    K = intrinsics(25.0, 27.0, 14.0, 11.0).expand(count, 3, 3)
    return Cameras(c2w.to(dtype), K.to(dtype), SIZE)


def slow_share(points, sources, far):
    """The definition, through `project`, in float64."""
    pixels, z = project(points.double(), sources.to(torch.float64))
    inside = ((pixels >= 0) & (pixels < torch.tensor([SIZE[1], SIZE[0]]))).all(dim=-1)
    return (inside & (z > 0) & (z <= far[:, None].double())).double().mean(dim=-1).float()


@pytest.mark.parametrize("offset", [0.0, 5000.0])
def test_share_equals_the_slow_twin(offset):
    generator = torch.Generator().manual_seed(0)
    sources = random_cameras(60, seed=1)
    points = 1.5 * torch.randn(500, 3, generator=generator)
    far = 1 + 4 * torch.rand(60, generator=generator)
    sources.c2w[:, :3, 3] += offset
    points = points + offset
    expected = slow_share(points, sources, far)
    assert expected.max() > 0.05 and len(expected.unique()) > 10
    got = seen_share(points, sources, far)
    # One point of 500 may fall on the other side of a border by rounding.
    assert (got - expected).abs().max() <= 1.01 / 500
    assert (got == expected).float().mean() > 0.9


def test_a_camera_sees_its_own_frustum_up_to_its_limit():
    cameras = random_cameras(1, seed=2)
    points = frustum_points(cameras, torch.tensor([1.0, 2.0, 4.0, 8.0]), grid=3)
    for far, share in [(9.0, 1.0), (5.0, 0.75), (1.5, 0.25), (0.5, 0.0), (0.0, 0.0)]:
        assert seen_share(points, cameras, torch.tensor([far])).item() == share


def test_nothing_behind_is_seen():
    cameras = random_cameras(1, seed=3)
    points = frustum_points(cameras, torch.tensor([2.0]), grid=4)
    mirrored = 2 * cameras.centres - points
    assert seen_share(mirrored, cameras, torch.tensor([99.0])).item() == 0


def test_one_camera_does_not_change_another():
    points = torch.randn(50, 3, generator=torch.Generator().manual_seed(4))
    sources, far = random_cameras(7, seed=5), torch.full((7,), 5.0)
    together = seen_share(points, sources, far)
    alone = torch.cat([seen_share(points, sources[i : i + 1], far[i : i + 1]) for i in range(7)])
    assert alike(together, alone)


def test_frustum_points_are_the_centres_of_equal_parts():
    camera = random_cameras(2, seed=6, dtype=torch.float64)
    depths = torch.tensor([1.0, 3.0], dtype=torch.float64)
    points = frustum_points(camera, depths, grid=2).reshape(2, 2, 4, 3)
    for t in range(2):
        for d in range(2):
            pixels, z = project(points[t, d], camera[t])
            expected = [[7.5, 5.0], [22.5, 5.0], [7.5, 15.0], [22.5, 15.0]]
            torch.testing.assert_close(pixels, pixels.new_tensor(expected))
            torch.testing.assert_close(z, depths[d].expand(4))


def test_empty_sides():
    cameras = random_cameras(2, seed=7)
    assert frustum_points(cameras, torch.zeros(0), grid=3).shape == (0, 3)
    assert seen_share(torch.zeros(1, 3), cameras[:0], torch.zeros(0)).shape == (0,)
    with pytest.raises(ValueError, match="fraction of zero points"):
        seen_share(torch.zeros(0, 3), cameras, torch.ones(2))
    with pytest.raises(ValueError, match="2 cameras need one far limit each, got 3"):
        seen_share(torch.zeros(1, 3), cameras, torch.ones(3))


def test_points_on_the_image_border():
    """Left and upper border belong to the image, right and lower do not; z = far does."""
    K = intrinsics(10.0, 10.0, 15.0, 10.0)[None]
    camera = Cameras(torch.eye(4)[None], K, SIZE)
    places = {(-3.0, -2.0): 1, (3.0, 0.0): 0, (0.0, 2.0): 0, (2.75, 1.75): 1, (math.nan, 0.0): 0}
    for (x, y), seen in places.items():
        points = torch.tensor([[0.0, 0.0, 2.0], [x, y, 2.0]])
        assert seen_share(points, camera, torch.tensor([2.0])).item() == (1 + seen) / 2
