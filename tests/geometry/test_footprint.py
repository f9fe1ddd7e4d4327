import numpy as np
import pytest
import torch

from anchorweave.geometry.cameras import Cameras, intrinsics
from anchorweave.geometry.footprint import footprints, newly_covered
from anchorweave.geometry.projection import project, unproject


def cameras_at(places, size, focal=20.0):
    """Cameras that all look along z, at `places`."""
    c2w = torch.eye(4).repeat(len(places), 1, 1)
    c2w[:, :3, 3] = torch.tensor(places)
    K = intrinsics(focal, focal, size[1] / 2, size[0] / 2).expand(len(places), 3, 3)
    return Cameras(c2w, K, size)


def as_masks(bits, views, size):
    """Footprints as [C, D, h, w] of bool."""
    flat = np.unpackbits(bits.numpy().view(np.uint8), axis=1, bitorder="little").astype(bool)
    count = views * size[0] * size[1]
    assert not flat[:, count:].any()
    return torch.from_numpy(flat[:, :count].reshape(-1, views, *size))


def slow_masks(depth, sources, targets, members):
    """Through all points, in float64."""
    (h, w), masks = targets.size, []
    for m in members.tolist():
        points = unproject(depth[m].double(), sources[m].to(torch.float64))[depth[m] > 0]
        mask = torch.zeros(len(targets), h, w, dtype=torch.bool)
        for d in range(len(targets)):
            pixels, z = project(points, targets[d].to(torch.float64))
            column, row = torch.floor(pixels).long().unbind(-1)
            inside = (z > 0) & (column >= 0) & (column < w) & (row >= 0) & (row < h)
            mask[d, row[inside], column[inside]] = True
        masks.append(mask)
    return torch.stack(masks)


def scene(seed=0, offset=0.0):
    generator = torch.Generator().manual_seed(seed)
    depth = 1 + 3 * torch.rand(6, 11, 15, generator=generator)
    depth[torch.rand(depth.shape, generator=generator) < 0.2] = 0
    places = torch.rand(9, 3, generator=generator) - 0.5
    sources = cameras_at(places[:6].tolist(), (11, 15))
    targets = cameras_at(places[6:].tolist(), (9, 13), focal=17.0)
    angle = torch.tensor(0.8)
    sources.c2w[2, :3, :3] = torch.tensor(
        [[angle.cos(), 0, angle.sin()], [0, 1, 0], [-angle.sin(), 0, angle.cos()]]
    )
    sources.c2w[:, :3, 3] += offset
    targets.c2w[:, :3, 3] += offset
    return depth, sources, targets


@pytest.mark.parametrize("offset", [0.0, 2048.0])
def test_equals_the_slow_twin(offset):
    depth, sources, targets = scene(offset=offset)
    members = torch.tensor([4, 0, 2, 5])
    got = as_masks(footprints(depth, sources, targets, members), 3, (9, 13))
    expected = slow_masks(depth, sources, targets, members)
    assert 0.1 < expected.float().mean() < 0.9
    assert (got == expected).float().mean() > 0.995  # rounding at the edges of pixels


def test_a_depth_map_covers_its_own_camera_but_for_invalid_pixels():
    depth, sources, _ = scene()
    bits = footprints(depth, sources, sources[1:2], torch.tensor([1]))
    assert torch.equal(as_masks(bits, 1, (11, 15))[0, 0], depth[1] > 0)


def test_a_sideways_step_uncovers_a_strip():
    """At depth 2 a step of 0.3 moves the image by 20 * 0.3 / 2 = 3 pixels."""
    size = (8, 12)
    bits = footprints(
        torch.full((1, *size), 2.0),
        cameras_at([[0.0, 0.0, 0.0]], size),
        cameras_at([[0.3, 0.0, 0.0], [-0.3, 0.0, 0.0], [0.0, 0.0, 5.0]], size),
        torch.tensor([0]),
    )
    expected = torch.ones(3, *size, dtype=torch.bool)
    expected[0, :, 9:] = False
    expected[1, :, :3] = False
    expected[2] = False  # all points are behind the third camera
    assert torch.equal(as_masks(bits, 3, size)[0], expected)


def test_a_candidate_alone_is_the_same_as_among_others():
    depth, sources, targets = scene(seed=1)
    together = footprints(depth, sources, targets, torch.arange(6))
    for m in range(6):
        assert torch.equal(footprints(depth, sources, targets, torch.tensor([m]))[0], together[m])


def test_no_candidates_and_no_depth():
    depth, sources, targets = scene()
    assert footprints(depth, sources, targets, torch.arange(0)).shape == (0, -(-3 * 9 * 13 // 64))
    # A camera that stands in view of the target is where its pixels without depth would land.
    source, target = cameras_at([[0.0, 0.0, 2.0], [0.0, 0.0, 0.0]], (8, 12))
    sources, targets = (Cameras(c.c2w[None], c.K[None], c.size) for c in (source, target))
    assert not footprints(torch.zeros(1, 8, 12), sources, targets, torch.tensor([0])).any()
    assert footprints(torch.full((1, 8, 12), 0.1), sources, targets, torch.tensor([0])).any()


def test_newly_covered_counts_bits():
    generator = torch.Generator().manual_seed(2)
    low, high = -(2**63), 2**63 - 1
    sets = torch.randint(low, high, (20, 7), generator=generator)
    covered = torch.randint(low, high, (7,), generator=generator)
    sets[0], sets[1] = 0, -1  # nothing, and every bit
    expected = [
        sum((a & ~b & (2**64 - 1)).bit_count() for a, b in zip(row, covered.tolist(), strict=True))
        for row in sets.tolist()
    ]
    assert newly_covered(sets, covered).tolist() == expected
    assert expected[0] == 0 and expected[1] > 100
