"""When too little is known of a video's cameras, and a turn on the spot put together."""

import pytest
import torch

from anchorweave.evaluation.camera_estimate import EstimatedCameras, EstimationConfig
from tests.rooms import look

CONFIG = EstimationConfig()


def estimated(registered, turned):
    c2w = look([[0.0, 0.0, 0.0]] * len(registered), torch.arange(len(registered)) * 0.1).c2w
    c2w = c2w.double()
    turns = c2w[:-1, :3, :3].mT @ c2w[1:, :3, :3]
    known = [torch.tensor(values, dtype=torch.bool) for values in (registered, turned)]
    return EstimatedCameras(c2w, known[0], turns, known[1])


@pytest.mark.parametrize(
    "count, of, failed", [(0, 8, True), (3, 8, True), (4, 8, False), (2, 3, True), (3, 3, False)]
)
def test_too_few_registered_frames_are_a_failure(count, of, failed):
    known = [i < count for i in range(of)]
    assert estimated(known, [True] * (of - 1)).failed(CONFIG) is failed


def test_too_few_turns_are_a_failure():
    assert estimated([True] * 5, [True, False, False, False]).turns_failed(CONFIG)
    assert not estimated([False] * 5, [True, False, True, False]).turns_failed(CONFIG)
    assert estimated([False], []).turns_failed(CONFIG)


def test_turns_are_put_together_along_the_longest_stretch():
    found = estimated([False] * 6, [True, False, True, True, False])
    spot = found.on_the_spot()
    assert spot.registered.tolist() == [False, False, True, True, True, False]
    relative = spot.c2w[2, :3, :3].mT @ spot.c2w[4, :3, :3]
    torch.testing.assert_close(relative, found.c2w[2, :3, :3].mT @ found.c2w[4, :3, :3])
    assert not estimated([True] * 4, [False] * 3).on_the_spot().registered.any()


@pytest.mark.parametrize(
    "name, value",
    [
        ("shorter_side", 0),
        ("overlap", 0),
        ("min_init_inliers", 0),
        ("min_pose_inliers", 0),
        ("min_triangulation_degrees", 0.0),
        ("min_registered", 0.0),
        ("min_registered", 1.5),
        ("seed", -1),
    ],
)
def test_options_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"estimate.{name}={value}"):
        EstimationConfig(**{name: value})
