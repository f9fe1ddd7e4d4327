import math

import pytest
import torch

from anchorweave.geometry.cameras import rotation_angle, slerp
from anchorweave.geometry.selection import rotation
from anchorweave.geometry.trajectories import trajectory
from inference.explorer import drawing
from inference.explorer.splines import degrees_between, rotations_at
from inference.explorer.state import Drawn
from tests.rooms import look

UNIT, FRAMES = 2.0, 9


@pytest.fixture
def start():
    return look([[0.1, 0.2, -1.0]], [0.3])[0]


def turned(camera, axis, degrees):
    view = camera.c2w.clone()
    view[:3, :3] = rotation(axis, degrees) @ view[:3, :3]
    return view


def rates(rotations, at, time, step=1e-4):
    """Angular velocity in radians right before and right after a time, in the world's axes."""
    times = torch.tensor([time - step, time, time + step], dtype=torch.float64)
    before, there, after = rotations_at(rotations, at, times)
    # Of a small turn, the part that is not symmetric is the angle times the axis.
    turns = [there @ before.mT, after @ there.mT]
    return [
        torch.stack([t[2, 1] - t[1, 2], t[0, 2] - t[2, 0], t[1, 0] - t[0, 1]]) / (2 * step)
        for t in turns
    ]


def keyframes(count, largest, seed):
    """Rotations that turn by up to `largest` degrees about random axes, at uneven times."""
    random = torch.Generator().manual_seed(seed)
    found = [torch.eye(3, dtype=torch.float64)]
    for _ in range(count - 1):
        axis = torch.randn(3, generator=random).tolist()
        degrees = largest * (0.3 + 0.7 * torch.rand(1, generator=random).item())
        found.append(rotation(tuple(axis), degrees).double() @ found[-1])
    gaps = 1 + 2 * torch.rand(count - 1, generator=random, dtype=torch.float64)
    return torch.stack(found), torch.cat([torch.zeros(1, dtype=torch.float64), gaps.cumsum(0)])


@pytest.mark.parametrize("count", [2, 3, 4, 20])
@pytest.mark.parametrize("largest", [30.0, 120.0])
def test_keyframes_are_met_and_angular_velocity_does_not_jump(count, largest):
    rotations, at = keyframes(count, largest, seed=count)
    # Matrices of float32 are rotations to 1e-7 or so.
    torch.testing.assert_close(rotations_at(rotations, at, at), rotations, atol=1e-6, rtol=0)
    for time in at[1:-1].tolist():
        before, after = rates(rotations, at, time)
        # Differences over a step tell them to its length times the acceleration.
        torch.testing.assert_close(before, after, atol=2e-3, rtol=0)
    if count == 2:
        middle = at.new_tensor([float(at[-1]) / 2])
        half = slerp(rotations[0], rotations[1], torch.tensor(0.5, dtype=torch.float64))
        torch.testing.assert_close(rotations_at(rotations, at, middle)[0], half, atol=1e-6, rtol=0)


def test_great_arcs_would_jump(start):
    drawn = drawing.with_view(Drawn(), turned(start, (0.0, 1.0, 0.0), 48.0))
    drawn = drawing.with_view(drawn, turned(start, (1.0, 0.0, 0.0), 48.0))
    jumps = {}
    for smooth in (True, False):
        one = Drawn(keyframes=drawn.keyframes, smooth=smooth)
        path = drawing.path_cameras(one, start, FRAMES, UNIT)
        assert torch.equal(path.c2w[0], start.c2w)
        assert torch.equal(path.c2w[-1], start.c2w.new_tensor(drawn.keyframes[-1]))
        turns = path.c2w[1:, :3, :3].double() @ path.c2w[:-1, :3, :3].double().mT
        jumps[smooth] = float(rotation_angle(turns[:-1], turns[1:]).rad2deg().max())
    # Turns of about 2 degrees a frame, whose axis changes at once, or bit by bit.
    assert jumps[False] > 2.0 > 1.2 > jumps[True]


@pytest.mark.parametrize("spec", ["pan(degrees=16)", "orbit(degrees=14)", "orient_right:8"])
def test_presets_turn_as_they_did(start, spec):
    drawn = drawing.with_words(Drawn(), spec, start, FRAMES, UNIT)
    path = drawing.path_cameras(drawn, start, FRAMES, UNIT)
    there = trajectory(spec, start, FRAMES, UNIT)
    assert len(path) == len(there)
    torch.testing.assert_close(path.c2w[:, :3, :3], there.c2w[:, :3, :3], atol=1e-5, rtol=0)


def test_a_large_turn_in_words_keeps_its_way_round(start):
    drawn = drawing.with_words(Drawn(), "pan(degrees=360)", start, FRAMES, UNIT)
    keys = drawing.keyframe_cameras(drawn, start).c2w[:, :3, :3]
    assert float(degrees_between(keys).max()) <= 90.01
    path = drawing.path_cameras(drawn, start, FRAMES, UNIT)
    turns = path.c2w[1:, :3, :3] @ path.c2w[:-1, :3, :3].mT
    # To the right all the way, once round.
    total = torch.atan2(turns[:, 0, 2], turns[:, 0, 0]).sum()
    assert float(total) == pytest.approx(2 * math.pi, abs=1e-3)


@pytest.mark.parametrize("axis", [(0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 2.0, -1.0)])
@pytest.mark.parametrize("smooth", [True, False])
def test_a_half_turn_is_refused(start, axis, smooth):
    near = drawing.with_view(Drawn(smooth=smooth), turned(start, axis, 10.0))
    half = drawing.with_view(near, turned(start, axis, 190.0))
    with pytest.raises(ValueError, match="keyframe 1 and keyframe 2 are half a turn apart"):
        drawing.path_cameras(half, start, FRAMES, UNIT)
    alone = drawing.with_view(Drawn(smooth=smooth), turned(start, axis, -180.0))
    with pytest.raises(ValueError, match="the beginning of the path and keyframe 1 are half"):
        drawing.path_cameras(alone, start, FRAMES, UNIT)
    less = drawing.with_view(near, turned(start, axis, 185.0))
    path = drawing.path_cameras(less, start, FRAMES, UNIT)
    assert torch.equal(path.c2w[-1], start.c2w.new_tensor(less.keyframes[-1]))
