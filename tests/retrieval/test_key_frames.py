import pytest
import torch

from anchorweave.clip import Clip
from anchorweave.retrieval import coarse_views
from anchorweave.retrieval.coarse_views import CoarseViews
from anchorweave.retrieval.key_frames import (
    KeyFrames,
    by_marginal_overlap,
    most_revealing,
    overlap_with,
)
from tests.rooms import look, view_room, walk


def seen(clip: Clip) -> CoarseViews:
    return coarse_views(clip.depth, clip.cameras, clip.names, 1)


def turned(yaws) -> Clip:
    return view_room(look([[0.0, 0.0, 0.0]] * len(yaws), yaws))


def offered(yaws, min_revealed=0.25) -> KeyFrames:
    key_frames = KeyFrames(min_revealed, tolerance=0.05)
    for number, yaw in enumerate(yaws):
        key_frames.offer(number, seen(turned([yaw])))
    return key_frames


def test_a_frame_joins_once_it_reveals_enough():
    # The view is 1.18 radians wide: 0.2 of turning reveal about a sixth of it.
    key_frames = offered([0.0, 0.0, 0.2, 0.4, 0.6, 0.2])
    assert key_frames.numbers == [0, 3]
    assert key_frames.revealed[0] == 1.0 and 0.25 < key_frames.revealed[1] < 0.45
    assert key_frames.views.names == ("room 0", "room 0") and len(key_frames.views) == 2
    # After a turn through all of the room nothing is new, however often it is passed.
    around = [0.3 * i for i in range(21)]
    assert offered([*around, *around]).numbers == offered(around).numbers


def test_the_threshold_is_of_all_pixels():
    assert len(offered([0.3 * i for i in range(8)], 0.05).numbers) == 8
    assert offered([0.0, 3.0], 1.0).numbers == []
    blind = turned([0.0])
    blind.depth[0, 6:] = 0.0
    key_frames = KeyFrames(0.25, 0.05)
    assert not key_frames.offer(0, seen(blind)) and key_frames.views is None
    assert key_frames.offer(1, seen(turned([0.0])))


def test_those_that_revealed_most_are_given_in_their_order():
    assert most_revealing([1.0, 0.3, 0.5, 0.3], 3) == ([0, 2, 3], "those that revealed most")
    assert most_revealing([1.0, 0.3], 2) == ([0, 1], "every key frame")
    assert most_revealing([1.0, 0.3], 0) == ([], "those that revealed most")


def test_overlap_is_that_of_each_target_camera_alone():
    memories = seen(turned([0.0, 0.6, 3.0]))
    overlap = overlap_with(turned([0.6, 0.0]).cameras, memories)
    assert overlap.shape == (2, 3)
    assert overlap[0].argmax() == 1 and overlap[1].argmax() == 0
    assert overlap[:, 2].max() == 0


def test_each_choice_adds_most_to_the_best_overlap():
    overlap = torch.tensor([[0.6, 0.9, 0.0, 0.2], [0.6, 0.0, 0.7, 0.2]])
    # 0 alone adds 1.2, then 2 adds 0.1 and 1 adds 0.3.
    assert by_marginal_overlap(overlap, 1, 0.3) == ([0], "K reached")
    assert by_marginal_overlap(overlap, 2, 0.3) == ([0, 1], "K reached")
    done = "no other key frame adds overlap"
    assert by_marginal_overlap(overlap, 4, 0.3) == ([0, 1, 2], done)
    assert by_marginal_overlap(overlap, 4, 0.8) == ([1], done)
    assert by_marginal_overlap(overlap[:, [0, 0]], 4, 0.3) == ([1], done)
    assert by_marginal_overlap(overlap, 0, 0.3) == ([], "K reached")


def test_greedy_against_trying_every_one():
    generator = torch.Generator().manual_seed(0)
    overlap = torch.rand(9, 12, generator=generator)
    chosen, best = [], torch.zeros(9)
    for _ in range(4):
        gains = [sum(max(0.0, float(overlap[t, m] - best[t])) for t in range(9)) for m in range(12)]
        chosen.append(max(range(12), key=lambda m: gains[m]))
        best = torch.maximum(best, overlap[:, chosen[-1]])
    assert by_marginal_overlap(overlap, 4, 0.0)[0] == sorted(chosen)


def test_no_memory_at_all_is_no_choice():
    assert by_marginal_overlap(torch.zeros(3, 0), 4, 0.3)[0] == []
    assert most_revealing([], 4) == ([], "every key frame")
    assert pytest.approx(0) == overlap_with(walk(2).cameras, seen(walk(0))).numel()
