import math

import pytest
import torch

from anchorweave.geometry.convex_polygons import convex_hulls, shared_areas


def square(x, y, side):
    return [[x, y], [x + side, y], [x, y + side], [x + side, y + side]]


def hulls(*points):
    return convex_hulls(torch.tensor(points, dtype=torch.float64))


def inside(points, corners):
    """Which points lie in a polygon: to the left of all of its edges."""
    after = corners.roll(-1, dims=0)
    edge, reach = after - corners, points[:, None] - corners
    return (edge[:, 0] * reach[..., 1] - edge[:, 1] * reach[..., 0] >= 0).all(dim=1)


def test_a_hull_leaves_out_what_lies_inside_or_on_an_edge():
    points = square(0.0, 0.0, 2.0) + [[1.0, 1.0], [1.0, 0.0], [2.0, 2.0], [0.5, 1.5]]
    hull = hulls(points)
    assert hull.counts.tolist() == [4] and hull.areas().tolist() == [4.0]
    assert hull.corners[0, :4].tolist() == [[0, 0], [2, 0], [2, 2], [0, 2]]


@pytest.mark.parametrize("points", [[[1.0, 1.0]] * 3, [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]])
def test_points_on_one_spot_or_one_line_have_no_area(points):
    flat, other = hulls(points), hulls(square(0.0, 0.0, 3.0))
    assert flat.areas().item() == 0
    assert shared_areas(flat, other).item() == 0 and shared_areas(other, flat).item() == 0


def test_squares_beside_on_and_in_each_other():
    a = hulls(square(0.0, 0.0, 2.0))
    b = hulls(*(square(x, y, s) for x, y, s in [(1, 1, 2), (0, 0, 2), (0.5, 0.5, 1), (2, 0, 2)]))
    assert shared_areas(a, b).tolist() == [[1.0, 4.0, 1.0, 0.0]]
    assert shared_areas(b, a).flatten().tolist() == [1.0, 4.0, 1.0, 0.0]
    assert shared_areas(a, hulls(square(9.0, 9.0, 1.0))).item() == 0


def test_shared_areas_equal_those_of_a_count_of_cells():
    points = torch.randn(30, 7, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    a, b = convex_hulls(points[:12]), convex_hulls(0.7 * points[12:] + 0.5)
    got = shared_areas(a, b)
    steps = (torch.arange(400, dtype=torch.float64) + 0.5) / 400 * 8 - 4
    cells = torch.cartesian_prod(steps, steps)
    masks = [
        torch.stack([inside(cells, p.corners[n, : p.counts[n]]) for n in range(len(p))]).double()
        for p in (a, b)
    ]
    expected = masks[0] @ masks[1].mT * (8 / 400) ** 2
    assert expected.max() > 1 and (expected == 0).any()
    torch.testing.assert_close(got, expected, atol=0.03, rtol=0)
    torch.testing.assert_close(a.areas(), shared_areas(a, a).diagonal())


def test_a_hull_of_nothing_or_of_no_number_is_refused():
    with pytest.raises(ValueError, match="got 0 points"):
        convex_hulls(torch.zeros(2, 0, 2))
    with pytest.raises(ValueError, match="1 non-finite coordinates"):
        hulls([[0.0, math.nan], [1.0, 1.0]])
