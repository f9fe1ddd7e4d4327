"""Pairs of frames exist where the poses really are the same, and only there."""

import pytest
import torch

from anchorweave.evaluation.return_path import paired_frames, same_pose
from anchorweave.geometry.trajectories import trajectory
from tests.rooms import look

START = look([[0.1, 0.2, 0.3]], [0.4])[0]


@pytest.mark.parametrize(
    "spec", ["there_and_back(pan(degrees=60))", "there_and_back(dolly(distance=0.5))"]
)
def test_a_way_back_is_paired_with_the_way_out(spec):
    assert paired_frames(trajectory(spec, START, 7, 2.0).c2w) == [(0, 6), (1, 5), (2, 4)]
    # The far end is shown twice, one frame after the other.
    assert paired_frames(trajectory(spec, START, 6, 2.0).c2w) == [(0, 5), (1, 4)]


@pytest.mark.parametrize("spec", ["pan(degrees=60)", "static", "orbit(degrees=360)"])
def test_other_paths_have_no_pairs(spec):
    assert paired_frames(trajectory(spec, START, 9, 2.0).c2w) == []


def test_a_circle_ends_where_it_began_all_the_same():
    circle = trajectory("orbit(degrees=360)", START, 9, 2.0).c2w
    assert same_pose(circle, 0, -1) and not same_pose(circle, 0, 4)


def test_one_pose_that_is_off_ends_it():
    c2w = trajectory("there_and_back(dolly(distance=0.5))", START, 7, 2.0).c2w
    c2w[5, 0, 3] += 0.05
    assert paired_frames(c2w) == []
    assert paired_frames(torch.eye(4)[None]) == []
