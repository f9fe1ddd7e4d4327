import pytest
import torch
from torch.nn import functional

from anchorweave.geometry.cameras import Cameras, intrinsics
from anchorweave.geometry.projection import project, unproject
from anchorweave.perception import cost_volume, cost_volume_torch, smoothing_numba
from anchorweave.perception.cost_volume import EDGE, NOISE, photo_cost, semi_global, winner
from tests.alike import alike

SIZE = (9, 11)


@pytest.fixture(params=["numba", "torch"])
def both(request, monkeypatch):
    """Runs a test with each implementation."""
    monkeypatch.setattr(cost_volume, "_on_cpu", lambda values: request.param == "numba")


@pytest.fixture
def views():
    """A view, its camera, three sources and theirs: random images, slightly turned cameras."""
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(4, *SIZE, generator=generator, dtype=torch.float64)
    turns = torch.randn(4, 3, 3, generator=generator, dtype=torch.float64) * 0.05
    c2w = torch.eye(4, dtype=torch.float64).repeat(4, 1, 1)
    c2w[:, :3, :3] = torch.linalg.matrix_exp(turns - turns.mT)
    c2w[:, :3, 3] = torch.randn(4, 3, generator=generator, dtype=torch.float64) * 0.2
    K = intrinsics(9.0, 10.0, 5.2, 4.7, torch.float64).expand(4, 3, 3)
    cameras = Cameras(c2w, K, SIZE)
    return images[0], cameras[0], images[1:], cameras[1:]


def slow_cost(view, camera, sources, source_cameras, inverse_depths, window):
    """Pixel by pixel: unproject the plane, project it, correlate the windows."""
    H, W = SIZE
    r = window // 2
    costs = torch.zeros(len(inverse_depths), len(sources), H, W, dtype=torch.float64)
    for d, inverse in enumerate(inverse_depths):
        points = unproject(torch.full(SIZE, 1 / inverse.item(), dtype=torch.float64), camera)
        for s, source in enumerate(source_cameras):
            position, z = project(points.reshape(-1, 3), source)
            grid = 2 * position / torch.tensor([W, H]) - 1
            warped = functional.grid_sample(
                sources[s][None, None], grid.reshape(1, H, W, 2), align_corners=False
            )[0, 0]
            seen = ((grid.abs() < 1).all(-1) & (z > 0)).reshape(H, W)
            warped = warped * seen
            for y in range(H):
                for x in range(W):
                    box = (slice(max(y - r, 0), y + r + 1), slice(max(x - r, 0), x + r + 1))
                    a, b = view[box] - view[box].mean(), warped[box] - warped[box].mean()
                    spread = (a.square().mean() + NOISE**2) * (b.square().mean() + NOISE**2)
                    zncc = (a * b).mean() / spread.sqrt()
                    costs[d, s, y, x] = (1 - zncc) / 2 if seen[y, x] else 1.0
    return costs.sort(dim=1).values[:, : (len(sources) + 1) // 2].mean(dim=1)


@pytest.mark.parametrize(("sources", "window"), [(1, 1), (1, 3), (2, 3), (3, 5), (2, 7), (1, 9)])
def test_photo_cost_equals_its_slow_twin(both, views, sources, window):
    view, camera, images, cameras = views
    planes = torch.tensor([0.3, 0.6, 0.9], dtype=torch.float64)
    arguments = (view, camera, images[:sources], cameras[:sources], planes, window)
    fast, slow = photo_cost(*arguments), slow_cost(*arguments)
    assert torch.allclose(fast, slow, atol=1e-9)
    assert fast.min() >= 0 and fast.max() <= 1


def test_chunks_change_nothing(views, monkeypatch):
    monkeypatch.setattr(cost_volume, "_on_cpu", lambda values: False)
    planes = torch.linspace(0.2, 1.0, 7, dtype=torch.float64)
    whole = photo_cost(*views, planes, 3)
    monkeypatch.setattr(cost_volume_torch, "CHUNK", 2)
    assert alike(photo_cost(*views, planes, 3), whole)


def test_sources_of_another_size_and_behind_the_view(both, views):
    view, camera, images, cameras = views
    K = intrinsics(5.0, 6.0, 3.1, 2.4, torch.float64)
    turned = cameras.c2w[:1].clone()
    turned[:, :3, [0, 2]] *= -1
    around = Cameras(torch.cat([cameras.c2w[:1], turned]), K.expand(2, 3, 3), (5, 7))
    planes = torch.tensor([0.3, 0.9], dtype=torch.float64)
    cost = photo_cost(view, camera, images[:2, :5, :7].contiguous(), around, planes, 3)
    assert cost.shape == (2, *SIZE) and cost.min() < 0.5
    # Alone, the one that looks away sees nothing.
    assert (photo_cost(view, camera, images[:1, :5, :7], around[1:], planes, 3) == 1).all()


def test_float32_and_threads_agree(views):
    """Float32 and float64 to rounding, which a buffer's alignment may change too."""
    generator = torch.Generator().manual_seed(11)
    view, camera, images, cameras = (value.to(dtype=torch.float32) for value in views)
    planes = torch.linspace(0.2, 1.0, 5)
    guide = torch.rand(*SIZE, generator=generator)
    results = []
    threads = torch.get_num_threads()
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            cost = photo_cost(view, camera, images, cameras, planes, 5)
            results.append((cost, semi_global(cost, guide, 0.01, 0.2)))
    finally:
        torch.set_num_threads(threads)
    for one, three in zip(*results, strict=True):
        assert alike(one, three)
    exact = photo_cost(*views, planes.double(), 5)
    # Windows of random pixels have a variance near 1/12, whose rounding error is about 1e-7.
    assert torch.allclose(results[0][0].double(), exact, atol=1e-4)


def test_identical_view_costs_nothing_and_blank_says_nothing(both, views):
    view, camera, _, _ = views
    same = Cameras(camera.c2w[None], camera.K[None], SIZE)
    planes = torch.tensor([0.5], dtype=torch.float64)
    inner = (0, slice(1, -1), slice(1, -1))
    assert photo_cost(view, camera, view[None], same, planes, 3)[inner].max() < 0.01
    blank = torch.full_like(view, 0.4)
    cost = photo_cost(blank, camera, blank[None], same, planes, 3)
    assert torch.allclose(cost[inner], torch.full_like(cost[inner], 0.5), atol=1e-6)


@pytest.mark.parametrize("size", [(4, 3, 5), (3, 1, 7), (5, 6, 1)])
def test_semi_global_equals_its_slow_twin(both, monkeypatch, size):
    monkeypatch.setattr(smoothing_numba, "BLOCK", 2)
    generator = torch.Generator().manual_seed(5)
    cost = torch.rand(size, generator=generator, dtype=torch.float64)
    guide = torch.rand(size[1:], generator=generator, dtype=torch.float64)
    small, large = 0.05, 0.4
    D, H, W = cost.shape
    slow = torch.zeros_like(cost)
    for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        path = torch.zeros_like(cost)
        rows, columns = range(H)[:: dy or 1], range(W)[:: dx or 1]
        for y in rows:
            for x in columns:
                py, px = y - dy, x - dx
                for d in range(D):
                    path[d, y, x] = cost[d, y, x]
                    if not (0 <= py < H and 0 <= px < W):
                        continue
                    before = path[:, py, px]
                    edge = abs(guide[y, x] - guide[py, px])
                    jump = max(large / (1 + edge / EDGE), small)
                    ways = [before[d], before.min() + jump]
                    ways += [before[k] + small for k in (d - 1, d + 1) if 0 <= k < D]
                    path[d, y, x] += min(ways) - before.min()
        slow += path
    assert torch.allclose(semi_global(cost, guide, small, large), slow, atol=1e-12)


def test_winner_finds_the_bottom_of_a_parabola(both):
    planes = torch.linspace(0.2, 1.0, 9, dtype=torch.float64)
    bottom = torch.tensor([[0.0, 3.3, 4.5 - 1e-6], [7.0, 8.0, 5.9]], dtype=torch.float64)
    index = torch.arange(9, dtype=torch.float64)[:, None, None]
    found, inverse_depth = winner((index - bottom).square(), planes)
    assert torch.allclose(found, bottom, atol=1e-5)
    assert torch.allclose(inverse_depth, 0.2 + 0.1 * bottom, atol=1e-6)


def test_winner_of_a_flat_cost_stays_inside(both):
    index, _ = winner(torch.ones(5, 2, 2), torch.linspace(0.1, 0.5, 5))
    assert (index >= 0).all() and (index <= 4).all()
