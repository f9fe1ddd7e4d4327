from dataclasses import replace

import pytest
import torch

from anchorweave.recordings import open_recording
from anchorweave.recordings.procedural_rooms.reconstruction_errors import (
    LIKE_KITCHEN,
    depth_errors,
    pose_errors,
)
from tests.alike import alike, alike_pictures

WORDS = "procedural:seed=3,frames=12,size=16x24"
NOTHING = LIKE_KITCHEN.scaled(0.0)


@pytest.fixture(scope="module")
def exact():
    return open_recording(WORDS)


@pytest.fixture(scope="module")
def wrong():
    return open_recording(f"{WORDS},errors=1")


def test_no_errors_are_the_plain_room(exact):
    same = open_recording(f"{WORDS},errors=0")
    assert alike(same.cameras.c2w, exact.cameras.c2w)
    assert alike_pictures(same.depth(5), exact.depth(5))
    assert same.path == exact.path


def test_frames_stay_and_poses_and_depth_do_not(exact, wrong):
    assert alike_pictures(wrong.frame(5), exact.frame(5))
    assert wrong.names == exact.names and wrong.caption() == exact.caption()
    assert alike(wrong.cameras.K, exact.cameras.K)
    moved = (wrong.cameras.centres - exact.cameras.centres).norm(dim=-1)
    assert (moved > 0).all() and moved.max() < 0.1
    ratio = wrong.depth(5) / exact.depth(5)
    assert ratio.std() > 0 and (ratio - 1).abs().max() < 0.03


def test_another_path_leaves_from_where_the_true_camera_stood(exact, wrong):
    path2start = exact.cameras[3:6].relative_to(exact.cameras[3])
    along = wrong.along(3, path2start)
    for i in range(3):
        assert (along.frame(i) - exact.frame(3 + i)).abs().mean() < 1e-3
        torch.testing.assert_close(along.depth(i), exact.depth(3 + i), atol=1e-3, rtol=1e-3)


def test_the_path_tells_errors(exact, wrong):
    half = open_recording(f"{WORDS},errors=0.5")
    assert str(wrong.path) == f"{exact.path},errors=1"
    assert str(half.path) == f"{exact.path},errors=0.5"


def test_same_words_same_errors_in_any_order(wrong):
    again = open_recording(f"{WORDS},errors=1")
    assert alike(again.cameras.c2w, wrong.cameras.c2w)
    later = again.depth(7)
    assert alike_pictures(again.depth(2), wrong.depth(2)) and alike_pictures(wrong.depth(7), later)
    longer = pose_errors(LIKE_KITCHEN, 3, 20)
    assert alike(longer[:12], pose_errors(LIKE_KITCHEN, 3, 12))


def test_frames_and_seeds_have_errors_of_their_own():
    one = depth_errors(LIKE_KITCHEN, 3, 2, (16, 24))
    assert not alike(one, depth_errors(LIKE_KITCHEN, 3, 4, (16, 24)))
    assert not alike(one, depth_errors(LIKE_KITCHEN, 4, 2, (16, 24)))
    assert not alike(pose_errors(LIKE_KITCHEN, 3, 4), pose_errors(LIKE_KITCHEN, 4, 4))


def test_errors_grow_with_the_factor():
    small, large = (pose_errors(LIKE_KITCHEN.scaled(float(f)), 3, 50)[:, :3, 3] for f in (1, 3))
    assert torch.allclose(large, 3 * small)
    small, large = (
        depth_errors(LIKE_KITCHEN.scaled(float(f)), 3, 0, (16, 24)).log() for f in (1, 3)
    )
    assert torch.allclose(large, 3 * small)


def test_drift_is_slow_and_jitter_is_not():
    def steps_over_spread(config):
        position = pose_errors(config, 0, 4000)[:, :3, 3]
        return (position[1:] - position[:-1]).std() / position.std()

    drift = replace(NOTHING, drift_position=0.01, drift_frames=20.0)
    # Of a first-order process: sqrt(2 (1 - exp(-1 / frames))); of independent errors: sqrt(2).
    assert steps_over_spread(drift) == pytest.approx(0.312, rel=0.1)
    assert steps_over_spread(replace(NOTHING, jitter_position=0.01)) == pytest.approx(1.414, 0.05)


def test_amounts_are_what_they_say():
    config = replace(NOTHING, drift_position=0.03, drift_rotation=2.0, drift_frames=0.01)
    errors = pose_errors(config, 0, 4000)
    assert errors[:, :3, 3].std().item() == pytest.approx(0.03, rel=0.05)
    # A small rotation's off-diagonal entries are its angles.
    angles = torch.stack([errors[:, 2, 1], errors[:, 0, 2], errors[:, 1, 0]])
    assert torch.rad2deg(angles).std().item() == pytest.approx(2.0, rel=0.05)
    for amount in ("depth_scale", "depth_noise"):
        config = replace(NOTHING, **{amount: 0.05})
        logs = torch.stack([depth_errors(config, 0, i, (4, 6)).log() for i in range(1000)])
        assert logs.std().item() == pytest.approx(0.05, rel=0.05)


def test_depth_errors_are_of_three_kinds():
    def neighbours_and_spread(**amount):
        logs = depth_errors(replace(NOTHING, **amount), 0, 0, (32, 48)).log()
        return (logs[:, 1:] - logs[:, :-1]).abs().mean(), logs.std()

    apart, spread = neighbours_and_spread(depth_scale=0.05)
    assert apart == 0
    apart, spread = neighbours_and_spread(depth_bend=0.05)
    assert 0 < apart < 0.2 * spread
    apart, spread = neighbours_and_spread(depth_noise=0.05)
    assert apart > spread


def test_pixels_without_depth_stay_without(exact, wrong, monkeypatch):
    hole = exact.depth(0)
    hole[3] = 0
    monkeypatch.setattr(wrong.exact, "depth", lambda i: hole)
    assert torch.equal(wrong.depth(0) == 0, hole == 0)


def test_poses_stay_rigid_with_large_errors():
    errors = pose_errors(LIKE_KITCHEN.scaled(100.0), 3, 50)
    unit = torch.eye(3, dtype=errors.dtype).expand(50, 3, 3)
    assert torch.allclose(errors[:, :3, :3].mT @ errors[:, :3, :3], unit)
    assert torch.allclose(torch.det(errors[:, :3, :3]), torch.ones(50, dtype=errors.dtype))


@pytest.mark.parametrize("value", ["-1", "x", "", "nan", "inf", "1x2", "1."])
def test_errors_that_cannot_be_read(value):
    with pytest.raises(ValueError, match=rf"'errors={value}'; options are .*errors=X"):
        open_recording(f"{WORDS},errors={value}")


@pytest.mark.parametrize("factor", [-1.0, float("nan"), float("inf")])
def test_factors_that_are_none(factor):
    with pytest.raises(ValueError, match=f"scaled by 0 or more, got {factor}"):
        LIKE_KITCHEN.scaled(factor)


@pytest.mark.parametrize(
    ("name", "value"), [("depth_bend", -0.1), ("jitter_position", float("nan"))]
)
def test_amounts_that_are_none(name, value):
    with pytest.raises(ValueError, match=f"{name} must be 0 or more and finite, got {value}"):
        replace(LIKE_KITCHEN, **{name: value})


def test_a_drift_takes_time():
    with pytest.raises(ValueError, match="drift_frames must be more than 0"):
        replace(LIKE_KITCHEN, drift_frames=0.0)
