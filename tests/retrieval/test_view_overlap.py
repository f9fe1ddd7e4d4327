import math

import torch

from anchorweave.geometry.cameras import Cameras, intrinsics
from anchorweave.retrieval import CoarseViews
from anchorweave.retrieval.view_overlap import (
    DEPTH_QUANTILES,
    farthest,
    frustum_depths,
    view_overlap,
)

SIZE = (6, 9)


def looking(angles):
    """Cameras at the origin, turned about the vertical; 90 degrees wide."""
    c2w = torch.eye(4).repeat(len(angles), 1, 1)
    for i, angle in enumerate(angles):
        c, s = math.cos(angle), math.sin(angle)
        c2w[i, :3, :3] = torch.tensor([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
    K = intrinsics(4.5, 4.5, 4.5, 3.0).expand(len(angles), 3, 3)
    return Cameras(c2w, K, SIZE)


def memories(angles, depth):
    depth = torch.tensor(depth)[:, None, None].expand(len(angles), *SIZE).contiguous()
    return CoarseViews(depth, looking(angles), tuple(str(a) for a in angles))


def overlap(target, views):
    return view_overlap(target, views, frustum_depths(views), farthest(views))


def test_same_view_half_turned_and_turned_away():
    views = memories([0.0, math.pi / 4, math.pi], [2.0, 2.0, 2.0])
    same, half, away = overlap(looking([0.0, 0.0]), views).tolist()
    assert same == 1.0 and away == 0.0
    assert 0.3 < half < 0.6


def test_a_memory_cannot_see_beyond_what_it_saw():
    views = memories([0.0, 0.0, 0.0], [2.0, 4.0, 0.0])
    depths = torch.tensor([1.0, 3.0])
    got = view_overlap(looking([0.0]), views, depths, farthest(views))
    assert got.tolist() == [0.5, 1.0, 0.0]


def test_depths_are_quantiles_of_the_valid_depths_of_all_memories():
    views = memories([0.0], [1.0])
    depth = torch.arange(54.0).reshape(1, *SIZE)  # 0 is invalid: 1..53 remain
    got = frustum_depths(CoarseViews(depth, views.cameras, views.names))
    torch.testing.assert_close(got, 1 + 52 * torch.tensor(DEPTH_QUANTILES))


def test_quantiles_of_many_memories_come_from_a_fair_sample():
    """A size whose equal steps would meet one image column only."""
    h, w, count = 60, 90, 400
    depth = torch.arange(1.0, w + 1).expand(count, h, w).contiguous()
    K = intrinsics(80.0, 80.0, 45.0, 30.0).expand(count, 3, 3)
    cameras = Cameras(torch.eye(4).repeat(count, 1, 1), K, (h, w))
    got = frustum_depths(CoarseViews(depth, cameras, ("",) * count))
    torch.testing.assert_close(got, 1 + 89 * torch.tensor(DEPTH_QUANTILES), atol=1.0, rtol=0)


def test_nothing_known():
    empty = CoarseViews(torch.zeros(0, *SIZE), looking([]), ())
    assert overlap(looking([0.0]), empty).shape == (0,)
    assert overlap(looking([0.0]), memories([0.0], [0.0])).tolist() == [0.0]
