import math

import pytest
import torch

from anchorweave.geometry.point_cloud import PointCloud, save_ply
from anchorweave.geometry.selection import Box, Selection, moved, rotation


def points(count=400, seed=0):
    return 2 * torch.rand(count, 3, generator=torch.Generator().manual_seed(seed)) - 1


def ply(folder, cloud):
    save_ply(PointCloud(cloud, torch.ones_like(cloud)), folder / "part.ply")
    return str(folder / "part.ply")


@pytest.mark.parametrize("yaw", [0.0, 30.0, -75.0])
def test_a_box_holds_what_a_plain_loop_finds_in_it(yaw):
    box, angle = Box((0.2, -0.1, 0.3), (1.0, 0.6, 0.4), yaw), math.radians(yaw)
    found = []
    for x, y, z in points().tolist():
        dx, dy, dz = x - 0.2, y + 0.1, z - 0.3
        # The box's own x lies at (cos, 0, -sin) after a right-handed turn about y.
        along_x = dx * math.cos(angle) - dz * math.sin(angle)
        along_z = dx * math.sin(angle) + dz * math.cos(angle)
        found.append(abs(along_x) <= 0.5 and abs(dy) <= 0.3 and abs(along_z) <= 0.2)
    assert box.contains(points()).tolist() == found
    assert 5 < sum(found) < 100
    assert box.contains(points().view(20, 20, 3)).shape == (20, 20)


def test_the_yaw_may_be_about_any_axis():
    long = Box((0.0, 0.0, 0.0), (2.0, 0.1, 0.1), 90.0, (0.0, 0.0, 5.0))
    assert long.contains(torch.tensor([[0.0, 0.9, 0.0], [0.9, 0.0, 0.0]])).tolist() == [True, False]


def test_rotation_is_right_handed_and_rigid():
    turn = rotation((0.0, 3.0, 0.0), 90.0)
    torch.testing.assert_close(turn @ torch.tensor([0.0, 0.0, 1.0]), torch.tensor([1.0, 0.0, 0.0]))
    turn = rotation((1.0, -2.0, 0.5), 77.0)
    torch.testing.assert_close(turn @ turn.mT, torch.eye(3), atol=1e-6, rtol=0)
    assert torch.equal(rotation((1.0, 0.0, 0.0), 0.0), torch.eye(3))


def test_points_turn_about_the_centre_and_then_shift():
    centre, turn = torch.tensor([1.0, 0.0, 0.0]), rotation((0.0, 0.0, 1.0), 90.0)
    got = moved(torch.tensor([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0]]), centre, turn, (0.0, 0.0, 7.0))
    torch.testing.assert_close(got, torch.tensor([[1.0, 0.0, 7.0], [1.0, 1.0, 7.0]]))


def test_what_is_near_a_ply_is_what_a_plain_search_finds(tmp_path):
    part = 0.3 * points(30, seed=1) + 0.2
    selection = Selection(ply=ply(tmp_path, part), radius=0.25)
    expected = torch.cdist(points(), part).amin(dim=1) <= 0.25
    assert torch.equal(selection.contains(points()), expected)
    assert 10 < expected.sum() < 200
    assert not selection.contains(points() + 50).any()
    assert selection.contains(torch.zeros(0, 3)).shape == (0,)
    torch.testing.assert_close(selection.centre(), (part.amin(dim=0) + part.amax(dim=0)) / 2)
    assert "part.ply" in selection.where


def test_a_box_selects_as_it_holds():
    box = Box((0.0, 0.1, 0.2), (1.0, 1.0, 1.0), 20.0)
    assert torch.equal(Selection(box).contains(points()), box.contains(points()))
    assert Selection(box).centre().tolist() == pytest.approx([0.0, 0.1, 0.2])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"size": (1.0, -1.0, 1.0)}, r"size=\(1.0, -1.0, 1.0\).*must be positive"),
        ({"size": (1.0, 0.0, 1.0)}, "must be positive"),
        ({"centre": (0.0, float("nan"), 0.0)}, "must be finite"),
        ({"yaw": float("inf")}, "must be finite"),
        ({"axis": (0.0, 0.0, 0.0)}, "must not be zero"),
    ],
)
def test_boxes_that_are_none(options, message):
    with pytest.raises(ValueError, match=message):
        Box(**{"centre": (0.0, 0.0, 0.0), "size": (1.0, 1.0, 1.0), **options})


@pytest.mark.parametrize(
    "options, message",
    [
        ({}, "either a box or a ply"),
        ({"box": Box((0.0,) * 3, (1.0,) * 3), "ply": "a.ply", "radius": 1.0}, "either a box or a"),
        ({"box": Box((0.0,) * 3, (1.0,) * 3), "radius": 1.0}, "goes with a ply"),
        ({"ply": "a.ply"}, "needs a radius above 0"),
        ({"ply": "a.ply", "radius": -1.0}, "got -1.0"),
    ],
)
def test_selections_that_are_none(options, message):
    with pytest.raises(ValueError, match=message):
        Selection(**options)


def test_a_missing_ply(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.ply"):
        Selection(ply=str(tmp_path / "none.ply"), radius=1.0).contains(points())
