import math

import pytest
import torch

from anchorweave.geometry.cameras import Cameras, intrinsics
from anchorweave.geometry.plan_view import ground_axes, rays_meet, shared_view
from tests.rooms import look

# Cameras of `look` are y down, 67 degrees wide: a border ray goes 2 aside on 3 ahead.
NEAR, FAR = 0.5, 6.0


def at(x, z, yaw=0.0):
    return look([[x, 0.3, z]], [yaw])


def moved(cameras, seed=0):
    """The same cameras in a world turned and moved as a whole."""
    turn = torch.randn(3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rotation = torch.linalg.qr(turn)[0]
    move = torch.eye(4, dtype=torch.float64)
    move[:3, :3] = rotation * torch.det(rotation)
    move[:3, 3] = torch.tensor([30.0, -20.0, 10.0])
    return Cameras((move @ cameras.c2w.double()).float(), cameras.K, cameras.size)


def turned(cameras, down):
    """The cameras looking down by an angle in radians."""
    c, s = math.cos(down), math.sin(down)
    tilt = torch.eye(4)
    tilt[1:3, 1:3] = torch.tensor([[c, s], [-s, c]])
    return Cameras(cameras.c2w @ tilt, cameras.K, cameras.size)


def scattered(count, seed):
    generator = torch.Generator().manual_seed(seed)
    positions = torch.rand(count, 3, generator=generator) * torch.tensor([6.0, 0.5, 6.0])
    return look(positions.tolist(), (6.3 * torch.rand(count, generator=generator)).tolist())


def place(camera):
    """Where a level camera stands in the ground, and its turn to the right."""
    x, _, z = camera.centres.tolist()
    return x, z, math.atan2(camera.c2w[0, 2], camera.c2w[2, 2])


def sees(camera, x, z):
    """Whether a level camera at `place` has what stands at (x, z) in its view."""
    dx, dz, yaw = x - camera[0], z - camera[1], camera[2]
    ahead = math.sin(yaw) * dx + math.cos(yaw) * dz
    aside = math.cos(yaw) * dx - math.sin(yaw) * dz
    return NEAR <= ahead <= FAR and abs(aside) <= 2 / 3 * ahead


def counted_share(target, source, cells=60):
    """The definition by a double loop over small cells of the ground."""
    both = own = 0
    for i in range(cells):
        for j in range(cells):
            x = target[0] + (2 * (i + 0.5) / cells - 1) * 1.21 * FAR
            z = target[1] + (2 * (j + 0.5) / cells - 1) * 1.21 * FAR
            if sees(target, x, z):
                own += 1
                both += sees(source, x, z)
    return both / own


def test_shared_view_equals_its_slow_twin():
    targets, sources = scattered(3, seed=1), scattered(8, seed=2)
    expected = torch.tensor([[counted_share(place(t), place(s)) for s in sources] for t in targets])
    got = shared_view(targets, sources, NEAR, FAR)
    assert (expected == 0).any() and expected.max() > 0.5
    torch.testing.assert_close(got, expected, atol=0.03, rtol=0)


def slow_rays_meet(target, source):
    """The rule by a double loop over rays, each met by solving two equations with two unknowns."""

    def borders(camera):
        half = math.atan(2 / 3)
        turns = (place(camera)[2] - half, place(camera)[2] + half)
        return [(math.sin(turn), math.cos(turn)) for turn in turns]

    dx, _, dz = (source.centres - target.centres).tolist()
    met = 0
    for a in borders(target):
        for b in borders(source):
            det = -a[0] * b[1] + b[0] * a[1]
            t, s = (-dx * b[1] + b[0] * dz) / det, (a[0] * dz - a[1] * dx) / det
            if s >= 0 and NEAR <= t <= FAR:
                met += 1
                break
    return met == 2


def test_rays_meet_equals_its_slow_twin():
    targets, sources = scattered(12, seed=3), scattered(25, seed=4)
    expected = torch.tensor([[slow_rays_meet(t, s) for s in sources] for t in targets])
    assert 20 < expected.sum() < 280
    assert torch.equal(rays_meet(targets, sources, NEAR, FAR), expected)


def test_the_same_view_a_step_aside_and_the_other_way():
    target = at(0.0, 0.0)
    sources = look([[0, 0.3, 0], [1, 0.3, 0], [0, 0.3, 0], [50, 0.3, 0]], [0.0, 0.0, math.pi, 0.0])
    same, aside, away, far_off = shared_view(target, sources, 0.0, FAR)[0].tolist()
    assert same == pytest.approx(1.0) and away == pytest.approx(0.0, abs=1e-6) and far_off == 0
    # Two triangles of height 6 and base 8, one moved by 1: what they share is 7/8 of it, squared.
    assert aside == pytest.approx((7 / 8) ** 2)


def test_a_share_is_of_the_target_not_of_the_source():
    behind, ahead = at(0.0, -2.0), at(0.0, 1.0)
    wide = Cameras(ahead.c2w, intrinsics(6.0, 24.0, 16.0, 12.0)[None], ahead.size)
    assert shared_view(ahead, wide, 0.0, FAR).item() == pytest.approx(1.0)
    assert shared_view(wide, ahead, 0.0, FAR).item() == pytest.approx(0.25)
    assert 0 < shared_view(behind, ahead, 0.0, FAR).item() < 1


def test_rays_that_meet_too_near_or_too_far_do_not_count():
    # Opposite each other, 4 apart: the borders cross half way, 2.4 from each.
    target, source = at(0.0, 0.0), at(0.0, 4.0, math.pi)
    crossing = math.hypot(2.0, 4 / 3)
    for near, far, expected in [
        (0.1, 9.0, True),
        (crossing - 0.01, crossing + 0.01, True),
        (crossing + 0.01, 9.0, False),
        (0.1, crossing - 0.01, False),
    ]:
        assert rays_meet(target, source, near, far).item() is expected


def test_what_the_paper_s_rule_misses_and_ours_finds():
    turned_on_the_spot, a_step_ahead = at(0.0, 0.0, 0.3), at(0.0, 1.0)
    for source in (turned_on_the_spot, a_step_ahead):
        assert not rays_meet(at(0.0, 0.0), source, NEAR, FAR).item()
        assert shared_view(at(0.0, 0.0), source, NEAR, FAR).item() > 0.5


def test_rays_on_one_line():
    here = at(0.0, 0.0)
    assert rays_meet(here, here, NEAR, FAR).item()
    # Straight behind each other along the left border, only that border is shared.
    assert not rays_meet(here, at(-1.0, 1.5), NEAR, FAR).item()
    # Both borders on the source's: it looks back along them from where no border begins.
    assert not rays_meet(here, at(0.0, 0.0, math.pi), NEAR, FAR).item()


@pytest.mark.parametrize("seed", [0, 1])
def test_the_world_frame_does_not_matter(seed):
    targets, sources = scattered(4, seed=5), scattered(9, seed=6)
    world = moved(targets, seed), moved(sources, seed)
    torch.testing.assert_close(
        shared_view(*world, NEAR, FAR), shared_view(targets, sources, NEAR, FAR), atol=1e-4, rtol=0
    )
    assert torch.equal(rays_meet(*world, NEAR, FAR), rays_meet(targets, sources, NEAR, FAR))


def test_the_ground_is_level_with_the_cameras():
    axes = ground_axes(scattered(5, seed=7))
    torch.testing.assert_close(axes @ axes.mT, torch.eye(2, dtype=torch.float64))
    assert axes[:, 1].abs().max() < 1e-6
    # One looks up and one down: together they are level.
    both = ground_axes(turned(at(0.0, 0.0), 0.4), turned(at(0.0, 0.0), -0.4))
    assert both[:, 1].abs().max() < 1e-6


def test_a_camera_that_looks_down_sees_what_is_below_it():
    level = look([[0.0, 0.0, z] for z in range(-20, 20)], [0.0] * 40)
    down = turned(at(0.0, 0.0), 1.5)
    shares = shared_view(down, level, NEAR, FAR)[0]
    assert shares[18] > 0.4 and shares[30] == 0  # from 2 behind, and from 10 ahead


def test_no_targets_or_no_sources():
    none = scattered(3, seed=8)[:0]
    for rule in (shared_view, rays_meet):
        assert rule(none, scattered(3, seed=8), NEAR, FAR).shape == (0, 3)
        assert rule(scattered(3, seed=8), none, NEAR, FAR).shape == (3, 0)


@pytest.mark.parametrize("rule", [shared_view, rays_meet])
def test_bad_input_is_refused(rule):
    here = at(0.0, 0.0)
    for near, far in [(2.0, 1.0), (1.0, 1.0), (-1.0, 1.0), (0.0, math.inf), (0.0, math.nan)]:
        with pytest.raises(ValueError, match="expected far > near"):
            rule(here, here, near, far)
    with pytest.raises(ValueError, match="no common up direction"):
        rule(here, turned(here, math.pi), NEAR, FAR)
