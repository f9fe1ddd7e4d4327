import pytest
import torch

from anchorweave.geometry.cameras import Cameras, intrinsics
from anchorweave.geometry.projection import pixel_centres
from anchorweave.recordings.undistort import Lens, seen_window, undistorted

FOX = Lens(k1=0.0578421, k2=-0.0805099, p1=-0.000980296, p2=0.00015575)
BARREL = Lens(k1=-0.25, k2=0.08, k3=-0.01, p1=0.002, p2=-0.003)
PINCUSHION = Lens(k1=0.12, k4=0.01, p1=0.001)
SEEDED = torch.Generator().manual_seed(0)
LENSES = [FOX, BARREL, PINCUSHION]


def camera(size=(96, 128)):
    K = intrinsics(100.0, 98.0, 65.0, 47.0, dtype=torch.float64)
    return Cameras(torch.eye(4).double(), K, size)


def ideal(lens, distorted):
    """The pinhole ray behind a distorted one, by fixed-point iteration on the forward model."""
    rays = distorted.clone()
    for _ in range(60):
        rays = rays + distorted - lens.distort(rays)
    return rays


def texture(rays):
    x, y = rays.unbind(-1)
    return torch.stack([0.5 + 0.4 * torch.sin(9 * x), 0.5 + 0.4 * torch.cos(8 * y), x * y + 0.5])


def rays_of(camera):
    return (pixel_centres(camera.size, camera.K) - camera.K[:2, 2]) / camera.K.diagonal()[:2]


def test_distortion_terms_against_the_written_out_formula():
    x, y = 0.3, -0.2
    r2 = x * x + y * y
    radial = 1 - 0.25 * r2 + 0.08 * r2**2 - 0.01 * r2**3
    expected = [
        x * radial + 2 * 0.002 * x * y - 0.003 * (r2 + 2 * x * x),
        y * radial + 0.002 * (r2 + 2 * y * y) - 2 * 0.003 * x * y,
    ]
    found = BARREL.distort(torch.tensor([x, y], dtype=torch.float64))
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("lens", LENSES)
def test_what_a_lens_bends_is_made_straight(lens):
    cam = camera()
    bent = texture(ideal(lens, rays_of(cam)))
    straight, expected = undistorted(bent, lens, cam), texture(rays_of(cam))
    top, left, (h, w) = seen_window([(lens, cam)])
    window = (slice(None), slice(top + 1, top + h - 1), slice(left + 1, left + w - 1))
    error = (straight - expected)[window].abs().max()
    assert error < 2e-3
    assert error < 0.1 * (bent - expected)[window].abs().max()


@pytest.mark.parametrize("lens", LENSES)
def test_the_window_was_seen_everywhere_and_wastes_little(lens):
    cam = camera()
    ones = undistorted(torch.ones(1, 96, 128).double(), lens, cam)[0]
    top, left, (h, w) = seen_window([(lens, cam)])
    assert (ones[top : top + h, left : left + w] > 0.999).all()
    assert h * w > 0.9 * (ones > 0).sum()


def test_a_perfect_lens_changes_nothing():
    cam = camera()
    image = torch.rand(3, 96, 128, generator=SEEDED).double()
    torch.testing.assert_close(undistorted(image, Lens(), cam), image)
    assert seen_window([(Lens(), cam)]) == (0, 0, (96, 128))


def test_nearest_depth_keeps_only_values_that_were_there():
    depth = torch.where(torch.rand(1, 96, 128, generator=SEEDED) < 0.5, 1.0, 4.0).double()
    values = set(undistorted(depth, PINCUSHION, camera(), "nearest").unique().tolist())
    assert values == {0.0, 1.0, 4.0}
