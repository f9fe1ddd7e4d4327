"""A made-up network of known scale, shift and noise comes out in the unit of the poses."""

from dataclasses import replace

import pytest
import torch

from anchorweave.perception import DepthNotFoundError, NetworkConfig, PerceptionConfig
from anchorweave.perception.alignment import align_inverse
from anchorweave.perception.depth_network import DepthNetwork
from tests.rooms import walk

SCALES, SHIFTS = (0.4, 2.0, 7.0), (0.3, -0.05, 1.5)


class MadeUp(DepthNetwork):
    """Sees the exact room, as a network of relative depth would tell it: each frame in its own way.

    Args:
        clip: the room, exact.
        noise: relative, of every pixel.
        metric: whether it tells depth up to a factor of 1.7, the same for all frames.
    """

    name = "depth_anything"

    def __init__(self, clip, noise=0.0, metric=False, max_residual=0.15):
        super().__init__(torch.nn.Identity(), NetworkConfig("made up", max_residual))
        self.clip, self.noise, self.metric = clip, noise, metric
        self.draw = torch.Generator().manual_seed(0)

    def inverse_depth(self, frame, camera):
        centres = self.clip.cameras.centres
        i = int((centres - camera.centres).norm(dim=-1).argmin())
        exact = 1 / self.clip.depth[i]
        exact = exact * (1 + self.noise * torch.randn(exact.shape, generator=self.draw))
        return exact / 1.7 if self.metric else (exact - SHIFTS[i]) / SCALES[i]


@pytest.fixture(scope="module")
def room():
    return walk(3)


def sparse(clip, wrong=0.0, share=0.1):
    """Some pixels' depth, of which a share is wrong by a factor of 2 or more."""
    draw = torch.Generator().manual_seed(1)
    chosen = torch.rand(clip.depth.shape, generator=draw) < share
    bad = torch.rand(clip.depth.shape, generator=draw) < wrong
    factor = 2 + 3 * torch.rand(clip.depth.shape, generator=draw)
    return torch.where(chosen, torch.where(bad, factor * clip.depth, clip.depth), 0.0)


def bare(clip, **fields):
    return replace(clip, depth=torch.zeros_like(clip.depth), **fields)


def error(found, clip):
    return (found.depth / clip.depth - 1).abs().flatten(1).median(dim=1).values


def test_scale_and_shift_are_found_exactly(room):
    found = MadeUp(room)(bare(room, sparse=sparse(room)))
    assert (error(found, room) < 1e-5).all() and (found.depth > 0).all()


@pytest.mark.parametrize("wrong", [0.2, 0.4])
def test_wrong_points_do_not_pull(room, wrong, capsys):
    found = MadeUp(room, noise=0.02)(bare(room, sparse=sparse(room, wrong)))
    # Noise of 2 % leaves 1.3 % at the median pixel; a fit by least squares would be 30 % off.
    assert (error(found, room) < 0.03).all()
    assert "depth by depth_anything: 3 of 3 frames aligned, residual" in capsys.readouterr().err


def test_what_memory_shows_is_kept_and_fixes_the_scale(room):
    known = room.depth.clone()
    known[:, 12:] = 0
    found = MadeUp(room, noise=0.02)(bare(room), known)
    assert torch.equal(found.depth[:, :12], room.depth[:, :12])
    assert (error(found, room) < 0.03).all()


def test_a_sensor_with_holes_is_filled(room):
    depth = room.depth.clone()
    depth[:, :, 8:20] = 0
    found = MadeUp(room, noise=0.02)(replace(room, depth=depth))
    assert (found.depth[:, :, 8:20] > 0).all() and (error(found, room) < 0.03).all()


def test_a_metric_network_needs_one_factor(room):
    points = sparse(room)
    points[1] = 0
    found = MadeUp(room, metric=True)(bare(room, sparse=points))
    # The frame without points has the others' factor.
    assert (error(found, room) < 1e-5).all()
    alone = MadeUp(room, metric=True)(bare(room))
    assert torch.allclose(alone.depth, 1.7 * room.depth, rtol=1e-5)


def test_relative_depth_alone_has_no_scale(room):
    with pytest.raises(
        DepthNotFoundError, match="nothing fixes its scale.*network of metric depth"
    ):
        MadeUp(room)(bare(room))


def test_frames_that_fit_badly_stay_without_depth(room, capsys):
    points = sparse(room)
    draw = torch.Generator().manual_seed(2)
    shuffled = points[1][points[1] > 0]
    points[1][points[1] > 0] = shuffled[torch.randperm(len(shuffled), generator=draw)]
    found = MadeUp(room, max_residual=0.02)(bare(room, sparse=points))
    assert not found.depth[1].any() and (error(found, room)[[0, 2]] < 1e-5).all()
    assert "2 of 3 frames aligned" in capsys.readouterr().err
    with pytest.raises(DepthNotFoundError, match="0 of 3 frames aligned.*max_residual=0.02"):
        MadeUp(room, noise=0.5, max_residual=0.02)(bare(room, sparse=sparse(room)))


def test_too_little_is_known():
    known = torch.zeros(8, 8)
    known[0, :5] = 2.0
    assert align_inverse(torch.rand(8, 8), known, shifted=True) is None
    # The network says near where it is far.
    depth = 1 + torch.rand(8, 8)
    assert align_inverse(depth, depth, shifted=True) is None


def test_options_that_cannot_be():
    with pytest.raises(ValueError, match="max_residual=0.0: must be above 0"):
        NetworkConfig("x", 0.0)
    assert PerceptionConfig().depth_pro.model == "pretrained/DepthPro-hf"
