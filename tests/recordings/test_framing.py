import pytest
import torch

from anchorweave.clip import Clip
from anchorweave.geometry.cameras import Cameras, intrinsics
from anchorweave.geometry.projection import pixel_centres
from anchorweave.recordings.framing import colours_as_seen_by_depth, reframed

SIZES = [(24, 24), (12, 32), (36, 24), (24, 40), (48, 80), (15, 21)]


def ray_picture(size=(48, 80), K=(60.0, 50.0, 37.0, 25.0)):
    """A clip whose colours and depth say where their own ray points: x/z, y/z."""
    K = intrinsics(*K, dtype=torch.float64)
    camera = Cameras(torch.eye(4).double()[None], K[None], size)
    rays = (pixel_centres(size, K) - K[:2, 2]) / K.diagonal()[:2]  # [H, W, 2]
    colours = torch.stack([rays[..., 0] / 2 + 0.5, rays[..., 1] / 2 + 0.5, 0 * rays[..., 0]])
    depth = 2 + rays[None, ..., 0]
    return Clip(colours[None], depth, camera, ("a",), static=depth > 2)


def residual(clip):
    """How far colours and depth are from the rays of the clip's cameras (inside the border)."""
    K = clip.cameras.K[0]
    rays = (pixel_centres(clip.cameras.size, K) - K[:2, 2]) / K.diagonal()[:2]
    colours = (clip.frames[0, :2].permute(1, 2, 0) - 0.5) * 2
    inside = (slice(2, -2), slice(2, -2))
    return (
        (colours - rays)[inside].abs().max().item(),
        (clip.depth[0] - 2 - rays[..., 0])[inside].abs().max().item(),
    )


@pytest.mark.parametrize("size", SIZES)
def test_images_depth_and_cameras_stay_together(size):
    clip = reframed(ray_picture(), size)
    assert clip.frames.shape[-2:] == size == clip.cameras.size
    colour, depth = residual(clip)
    # A pixel is 1.7e-2 here; averaging is exact for whole ratios only, and the nearest depth is
    # that of a place up to half a source pixel away.
    assert colour < 1e-3
    assert depth <= 0.5 / 60 + 1e-9
    # Static is what is static in all pixels it is averaged from: less than the nearest one says, by
    # a border of one pixel.
    nearest = clip.depth > 2
    assert not (clip.static & ~nearest).any()
    assert (nearest & ~clip.static).sum() <= 2 * size[0]


def test_own_size_changes_nothing():
    clip = ray_picture()
    same = reframed(clip, (48, 80))
    assert torch.equal(same.frames, clip.frames) and torch.equal(same.depth, clip.depth)
    assert torch.equal(same.cameras.K, clip.cameras.K)


def test_depth_is_never_mixed_over_an_edge():
    clip = ray_picture()
    depth = torch.where(clip.depth % 0.1 < 0.05, 1.0, 5.0).double()
    clip = Clip(clip.frames, depth, clip.cameras, clip.names)
    assert set(reframed(clip, (17, 23)).depth.unique().tolist()) <= {1.0, 5.0}


def test_colours_are_averaged_not_picked():
    clip = ray_picture()
    noise = torch.rand(1, 3, 48, 80, generator=torch.Generator().manual_seed(0)).double()
    small = reframed(Clip(noise, clip.depth, clip.cameras, clip.names), (12, 20))
    # A tent over 8x8 pixels leaves a sixth of the noise; the four nearest pixels leave half.
    assert small.frames.std() < 0.25 * noise.std()


def test_colours_of_a_wider_camera_come_to_the_view_of_depth():
    depth = ray_picture(K=(60.0, 50.0, 40.0, 24.0))
    wide = ray_picture(K=(45.0, 37.5, 40.0, 24.0))
    both = Clip(wide.frames, depth.depth, depth.cameras, ("a",), depth.static)
    assert residual(both)[0] > 0.1
    seen = colours_as_seen_by_depth(both, 0.75)
    assert residual(seen)[0] < 1e-3
    assert torch.equal(seen.depth, depth.depth) and torch.equal(seen.static, depth.static)
    same = colours_as_seen_by_depth(depth, 1.0)
    torch.testing.assert_close(same.frames, depth.frames)
