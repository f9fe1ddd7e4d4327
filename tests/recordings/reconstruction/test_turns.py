"""A turn on the spot is told from a walk by what two views share, and likeness finds a loop."""

import numpy as np
import pytest

from anchorweave.recordings.reconstruction.likeness import likeness
from anchorweave.recordings.reconstruction.turns import homography, turning_share

FOCAL = 0.8


def seen(points, yaw, step):
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    local = (points - [step, 0, 0]) @ turn
    return FOCAL * local[:, :2] / local[:, 2:]


def pairs(step, depth, noise=0.0005, wrong=0.05):
    draw = np.random.default_rng(0)
    found = []
    for yaw in (0.1, 0.2, 0.25):
        points = np.stack([draw.uniform(-2, 2, 80), draw.uniform(-1, 1, 80), depth(draw)], axis=1)
        a, b = seen(points, 0, 0), seen(points, yaw, step)
        b = b + noise * draw.standard_normal(b.shape)
        bad = draw.random(80) < wrong
        b[bad] = draw.uniform(-0.5, 0.5, (bad.sum(), 2))
        found.append((a, b))
    return found


def room(draw):
    return draw.uniform(2, 5, 80)


def wall(draw):
    return np.full(80, 3.0)


def test_a_turn_is_one():
    assert turning_share(pairs(0.0, room)) == 1


def test_a_step_aside_is_none():
    assert turning_share(pairs(0.4, room)) == 0


def test_a_step_before_a_wall_is_none_though_a_homography_explains_it():
    views = pairs(0.6, wall, wrong=0.0)
    assert all(homography(a, b) is not None for a, b in views)
    assert turning_share(views) == 0


def test_the_same_place_looks_most_alike():
    draw = np.random.default_rng(0)
    places = [draw.random((60, 16), dtype=np.float32) for _ in range(3)]
    again = [place + 0.02 * draw.standard_normal(place.shape) for place in places]
    alike = likeness([*places, *(one.astype(np.float32) for one in again)])
    assert alike.diagonal() == pytest.approx(1, abs=1e-5)
    for i in range(3):
        others = np.delete(alike[i], i)
        assert others.argmax() == 2 + i and others.max() > 0.5
    assert likeness([np.zeros((0, 16), np.float32), places[0]]).shape == (2, 2)
