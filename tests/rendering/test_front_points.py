import torch

from anchorweave.geometry.point_cloud import PointCloud
from anchorweave.geometry.projection import project
from anchorweave.rendering.anchor_video import RenderConfig, render_anchor
from anchorweave.rendering.front_points import PART, front_points
from tests.rooms import look

PLACES = [[0.0, 0.0, 0.0], [0.3, 0.1, -0.2], [0.0, 0.0, 0.0]]
CAMERAS = look(PLACES, [0.0, 0.4, 3.1], size=(6, 8), focal=4.0)


def some_points(count=300):
    make = torch.Generator().manual_seed(0)
    points = 4 * torch.rand(count, 3, generator=make) - 2
    return PointCloud(points, torch.rand(count, 3, generator=make))


def in_front(points, camera):
    """By a plain loop over points."""
    positions, depths = project(points, camera)
    nearest = {}
    for number, ((x, y), z) in enumerate(zip(positions.tolist(), depths.tolist(), strict=True)):
        pixel = (int(y // 1), int(x // 1))
        if z > 0 and 0 <= pixel[0] < 6 and 0 <= pixel[1] < 8:
            nearest[pixel] = min(nearest.get(pixel, (z, number)), (z, number))
    return sorted(number for _, number in nearest.values())


def test_the_front_points_are_the_nearest_of_each_pixel():
    cloud = some_points()
    found = list(front_points(cloud, CAMERAS, RenderConfig()))
    assert [numbers.tolist() for numbers in found] == [in_front(cloud.points, c) for c in CAMERAS]
    assert all(15 < len(numbers) < 48 for numbers in found)


def test_they_are_what_an_anchor_shows_and_each_comes_once():
    cloud, config = some_points(), RenderConfig(splat_radius=1)
    shown = render_anchor(cloud, CAMERAS, config)
    for t, numbers in enumerate(front_points(cloud, CAMERAS, config)):
        colours = shown.video[t][:, shown.visible[t]].mT.unique(dim=0)
        assert torch.equal(cloud.colours[numbers].unique(dim=0), colours)
        assert len(colours) == len(numbers) < shown.visible[t].sum()


def test_nothing_in_sight_is_no_points():
    behind = PointCloud(torch.tensor([[0.0, 0.0, -1.0]]), torch.zeros(1, 3))
    (found,) = front_points(behind, CAMERAS[:1], RenderConfig())
    assert found.shape == (0,) and found.dtype == torch.int64
    assert not list(front_points(behind, CAMERAS[:0], RenderConfig()))


def test_numbers_pass_for_colours_unrounded():
    for number in (PART - 1, PART, 7 * PART + 3, 2**32 - 1):
        high, low = torch.tensor([number // PART, number % PART]).float().long().tolist()
        assert high * PART + low == number
