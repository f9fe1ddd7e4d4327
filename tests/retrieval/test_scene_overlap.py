from itertools import permutations

import pytest
import torch

from anchorweave.retrieval.scene_overlap import (
    SceneParts,
    assign_references,
    choose_references,
    shared_points,
    views_asked,
)


def cells(*numbers):
    """One point in each of these unit voxels along x."""
    return torch.tensor([[n + 0.5, 0.5, 0.5] for n in numbers])


def test_overlap_is_intersection_over_union():
    parts = SceneParts(1.0)
    parts.add(cells(0, 1, 2, 3, 3, 3))
    parts.add(cells(2, 3, 4, 5))
    parts.add(torch.zeros(0, 3))
    assert len(parts) == 3
    assert parts.overlap(cells(0, 1, 1)).tolist() == pytest.approx([2 / 4, 0, 0])
    assert parts.overlap(cells(2, 3, 4)).tolist() == pytest.approx([2 / 5, 3 / 4, 0])
    # A voxel that no frame showed is not of the remembered scene.
    assert parts.overlap(cells(2, 3, 4, 99)).tolist() == pytest.approx([2 / 5, 3 / 4, 0])
    assert parts.overlap(torch.zeros(0, 3)).tolist() == [0, 0, 0]


def test_no_frames_overlap_with_nothing():
    assert len(SceneParts(1.0).overlap(cells(0))) == 0


def test_every_kth_target_frame_is_asked_and_none_for_no_references():
    assert list(views_asked(49, 7)) == [0, 7, 14, 21, 28, 35, 42]
    assert list(views_asked(5, 1)) == [0, 1, 2, 3, 4]
    assert list(views_asked(49, 0)) == []


SHARES = torch.tensor([[0.1, 0.5, 0.5, 0.0], [0.2, 0.1, 0.6, 0.0], [0.0, 0.3, 0.9, 0.04]])


@pytest.mark.parametrize(
    "count, min_overlap, chosen, stopped",
    [
        (3, 0.05, [2, 0, 1], "K reached"),  # of equal ones the newer; each once
        (2, 0.05, [2, 0], "K reached"),
        (3, 0.25, [2, 1], "no other frame overlaps by more than 25%"),
        (4, 0.0, [2, 0, 1], "no other frame overlaps by more than 0%"),
        (0, 0.05, [], "K reached"),
    ],
)
def test_each_target_frame_takes_the_best_frame_that_is_left(count, min_overlap, chosen, stopped):
    assert choose_references(list(SHARES), count, min_overlap) == (chosen, stopped)


def test_what_just_reaches_the_threshold_is_not_taken():
    assert choose_references([torch.tensor([0.5])], 1, 0.5)[0] == []


def test_shared_points_are_those_of_both():
    make = torch.Generator().manual_seed(0)

    def some():
        return (torch.rand(40, generator=make) < 0.4).nonzero().flatten()

    targets, frames = [some() for _ in range(3)], [some() for _ in range(5)]
    frames.append(torch.zeros(0, dtype=torch.int64))
    shared = shared_points(targets, iter(frames), 40)
    for a, target in enumerate(targets):
        for m, frame in enumerate(frames):
            assert shared[a, m] == len(set(target.tolist()) & set(frame.tolist()))
    assert shared_points(targets, iter([]), 40).shape == (3, 0)


def best_sum(shared):
    """The largest sum of one-to-one pairs, by trying all."""
    if len(shared) > shared.shape[1]:
        shared = shared.mT
    rows = range(len(shared))
    return max(
        int(shared[rows, list(frames)].sum())
        for frames in permutations(range(shared.shape[1]), len(shared))
    )


@pytest.mark.parametrize("asked, frames", [(1, 6), (3, 6), (6, 6), (5, 4), (6, 1), (2, 2)])
def test_the_assignment_is_the_best_of_all(asked, frames):
    make = torch.Generator().manual_seed(10 * asked + frames)
    for _ in range(10):
        # Few different numbers, so that there are ties.
        shared = torch.randint(0, 12, (asked, frames), generator=make)
        chosen, stopped = assign_references(shared, 9)
        assert len(set(chosen)) == len(chosen) == min(asked, frames)
        # The order is that of the target frames, of which some may go without.
        of_those = permutations(range(asked), len(chosen))
        sums = [int(shared[list(t), chosen].sum()) for t in of_those if list(t) == sorted(t)]
        assert max(sums) == best_sum(shared)
        wanted = "every frame is assigned" if asked > frames else "every sampled target frame"
        assert stopped.startswith(wanted)
        fewer, why = assign_references(shared, 1)
        assert (fewer, why) == (chosen[:1], "K reached")


def test_one_frame_that_is_best_for_two_is_left_to_the_one_that_has_no_other():
    shared = torch.tensor([[90, 80, 0], [85, 0, 10]])
    assert assign_references(shared, 2) == ([1, 0], "K reached")
    assert choose_references(list(shared / 100), 2, 0.05)[0] == [0, 2]


def test_there_is_no_threshold_and_nothing_to_assign_is_nothing():
    assert assign_references(torch.zeros(1, 1, dtype=torch.int64), 1) == ([0], "K reached")
    assert assign_references(torch.zeros(3, 0, dtype=torch.int64), 2)[0] == []
    assert assign_references(torch.zeros(0, 3, dtype=torch.int64), 2)[0] == []
    assert assign_references(torch.ones(2, 3, dtype=torch.int64), 0) == ([], "K reached")
