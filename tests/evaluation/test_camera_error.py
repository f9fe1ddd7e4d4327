"""Alignment and errors of camera paths whose similarity and errors are known."""

import math

import pytest
import torch

from anchorweave.evaluation.camera_error import align, camera_error, path_length, rotation_kept
from tests.rooms import look


def path(count=9, straight=False, still=False, turning=True):
    """A walk that bends and turns; double precision."""
    steps = torch.linspace(0, 1, count)
    side = torch.zeros_like(steps) if straight else (3 * steps).sin()
    places = torch.stack([2 * steps, 0.3 * side, side], dim=-1)
    yaws = 1.2 * steps if turning else 0 * steps
    return look(0 * places if still else places, yaws).c2w.double()


def turn(degrees, axis):
    axis = torch.nn.functional.normalize(torch.tensor(axis, dtype=torch.float64), dim=0)
    K = torch.linalg.cross(torch.eye(3, dtype=torch.float64), axis.expand(3, 3))
    return torch.matrix_exp(math.radians(degrees) * K)


def elsewhere(c2w, scale=0.37):
    """The same cameras in another world, and another unit."""
    moved = c2w.clone()
    R = turn(110, [1.0, -2.0, 0.5])
    moved[:, :3, :3] = R @ c2w[:, :3, :3]
    moved[:, :3, 3] = scale * c2w[:, :3, 3] @ R.T + torch.tensor([3.0, -1.0, 8.0])
    return moved


@pytest.mark.parametrize("by", ["orientations", "centres"])
@pytest.mark.parametrize("straight", [False, True])
def test_a_path_in_another_world_has_no_error(by, straight):
    true = path(straight=straight)
    error = camera_error(elsewhere(true), true, path_length(true), by)
    assert error.rotation < 1e-4 and error.translation < 1e-6 and error.translation_share < 1e-6
    aligned = align(elsewhere(true), true, by)
    assert aligned.scale == pytest.approx(1 / 0.37)
    torch.testing.assert_close(aligned(elsewhere(true)), true, atol=1e-6, rtol=0)


@pytest.mark.parametrize("by", ["orientations", "centres"])
def test_no_other_similarity_has_a_smaller_error(by):
    true = path()
    noise = 0.05 * torch.randn(9, 3, generator=torch.Generator().manual_seed(0)).double()
    estimated = elsewhere(true)
    estimated[:, :3, 3] += noise
    found = align(estimated, true, by)
    a, b = estimated[:, :3, 3], true[:, :3, 3]

    def squared(scale, rotation, translation):
        return sum(
            (scale * rotation @ x + translation - y).square().sum().item()
            for x, y in zip(a, b, strict=True)
        )

    best = squared(found.scale, found.rotation, found.translation)
    shift = torch.tensor([0.01, 0.0, 0.0], dtype=torch.float64)
    assert best < squared(1.01 * found.scale, found.rotation, found.translation)
    assert best < squared(0.99 * found.scale, found.rotation, found.translation)
    assert best < squared(found.scale, found.rotation, found.translation + shift)
    if by == "centres":
        for axis in torch.eye(3).tolist():
            for degrees in (-1, 1):
                R = turn(degrees, axis) @ found.rotation
                centre = found.rotation @ a.mean(0) * found.scale + found.translation
                assert best < squared(found.scale, R, centre - found.scale * R @ a.mean(0))


def test_one_wrong_frame_counts_as_its_share():
    true = path(101)
    wrong = elsewhere(true)
    wrong[50, :3, :3] = wrong[50, :3, :3] @ turn(30, [0.0, 1.0, 0.0])
    error = camera_error(wrong, true, path_length(true), "centres")
    assert error.rotation == pytest.approx(30 / 101, abs=1e-3)
    # Fitted to all frames, orientations give way by that much to the one that is off.
    assert camera_error(wrong, true, path_length(true)).rotation < 2 * 30 / 101 + 1e-3


def test_centres_on_a_line_leave_the_rotation_to_the_orientations():
    true = path(straight=True)
    estimated = elsewhere(true)
    # About its own line, a straight path fits however it is turned.
    assert camera_error(estimated, true, path_length(true), "centres").rotation < 1e-4


def test_a_camera_that_stands_still_is_as_far_off_as_the_path_is_wide():
    true = path()
    still = true[:1].expand_as(true).clone()
    error = camera_error(still, true, path_length(true))
    centres = true[:, :3, 3]
    distance = (centres - centres.mean(dim=0)).norm(dim=-1).mean().item()
    assert error.translation == pytest.approx(distance)
    assert error.translation_share == pytest.approx(distance / path_length(true))
    assert error.rotation > 10


def test_a_turn_on_the_spot_has_a_rotation_error_only():
    true = path(still=True)
    wrong = elsewhere(path())
    wrong[:, :3, :3] = wrong[:, :3, :3] @ turn(5, [0.0, 0.0, 1.0])
    error = camera_error(wrong, true, path_length(true))
    assert (error.translation, error.translation_share) == (None, None)
    assert align(wrong, true).scale == 0
    # The same turn in every camera's own axes is not one of the world: it stays an error.
    assert 0.5 < error.rotation < 5.001


def test_a_path_that_goes_the_other_way_is_not_mirrored():
    true = path(turning=False)
    back = true.clone()
    back[:, :3, 3] *= -1
    assert align(back, true).scale == 0


def test_rotation_kept_is_the_share_of_the_turning():
    def neighbours(c2w):
        return c2w[:-1, :3, :3].mT @ c2w[1:, :3, :3]

    true = neighbours(path())
    assert rotation_kept(true, true) == pytest.approx(1)
    assert rotation_kept(torch.eye(3).double().expand_as(true), true) == 0
    half = torch.stack([turn(1.2 / 8 / 2 * 180 / math.pi, [0.0, -1.0, 0.0])] * 8)
    assert rotation_kept(half, true) == pytest.approx(0.5, abs=1e-5)
    assert rotation_kept(true, neighbours(path(turning=False))) is None


def test_no_cameras_are_refused():
    with pytest.raises(ValueError, match="no cameras to align"):
        camera_error(path()[:0], path()[:0], 1.0)
