import pytest
import torch

from anchorweave.retrieval.context_frames import (
    CONTEXT_CHOICES,
    choose_context,
    farthest_first,
    one_of_each_run,
)


def context(in_view, count, choose="random_in_view", chosen=(), seed=0, centres=None):
    seen = torch.tensor([c == "x" for c in in_view], dtype=torch.bool)
    centres = torch.zeros(len(seen), 3) if centres is None else centres
    return choose_context(seen, centres, chosen, count, choose, seed)


def slow_farthest_first(frames, chosen, centres):
    """The definition: every distance measured in every step, by plain loops."""
    low, high = centres.amin(dim=0), centres.amax(dim=0)
    diagonal = (high - low).norm().item() or 1.0
    order, left = [], list(frames)

    def apart(a, b):
        space = (centres[a] - centres[b]).norm().item() / diagonal
        return max(space, abs(a - b) / len(centres))

    while left:
        given = [*chosen, *order]
        far = {f: min((apart(f, g) for g in given), default=float("inf")) for f in left}
        order.append(max(left, key=lambda f: (far[f], f)))
        left.remove(order[-1])
    return order


def test_farthest_first_equals_its_slow_twin():
    generator = torch.Generator().manual_seed(0)
    for case in range(20):
        centres = torch.randn(12, 3, generator=generator).double()
        frames = sorted(torch.randperm(12, generator=generator)[:7].tolist())
        chosen = [f for f in range(12) if f not in frames][: case % 3]
        expected = slow_farthest_first(frames, chosen, centres)
        for count in (0, 3, 9):
            assert farthest_first(frames, chosen, centres, count) == expected[:count]
    assert farthest_first([], [3], centres, 5) == []


@pytest.mark.parametrize("rounding", [0.0, 1e-7])
@pytest.mark.parametrize("place", [0.0, 1.0, 50.0])
def test_cameras_at_one_place_are_far_in_time_only(place, rounding):
    centres = torch.full((10, 3), place)
    centres[1::3] *= 1 + rounding
    assert farthest_first([0, 1, 2, 3, 9], [9], centres, 9) == [0, 3, 2, 1, 9]


def test_one_frame_of_each_run():
    frames = [0, 1, 2, 5, 8, 9]
    kept_ever = set()
    for seed in range(20):
        kept, rest = one_of_each_run(frames, seed, 0)
        assert sorted(kept + rest) == frames
        assert [len(set(kept) & run) for run in ({0, 1, 2}, {5}, {8, 9})] == [1, 1, 1]
        assert one_of_each_run(frames, seed, 0) == (kept, rest)
        kept_ever |= set(kept)
    assert kept_ever == set(frames)
    assert one_of_each_run([], 0, 0) == ([], [])


def test_frames_in_view_come_first_and_the_report_tells_of_the_others():
    assert set(context("x..x.x", 3)[0]) == {0, 3, 5} and context("x..x.x", 3)[1] == "K reached"
    numbers, why = context("x..x..", 4)
    assert set(numbers[:2]) == {0, 3} and set(numbers[2:]) < {1, 2, 4, 5}
    assert why == "K reached, 2 at random because 2 are in view"
    assert len(set(context("......", 3)[0])) == 3
    numbers, why = context("x..", 5)
    assert sorted(numbers) == [0, 1, 2] and why == "every frame is given"
    assert context("", 5) == ([], "every frame is given")


def test_random_does_not_look():
    drawn = [context("x....", 1, "random", seed=seed) for seed in range(30)]
    assert {numbers[0] for numbers, _ in drawn} == {0, 1, 2, 3, 4}
    assert {why for _, why in drawn} == {"K reached"}


def test_non_adjacent_before_what_lies_beside_it():
    for seed in range(10):
        numbers, why = context("xxxx.xx", 3, "non_adjacent", seed=seed)
        assert len(set(numbers[:2]) & {0, 1, 2, 3}) == 1 and len(set(numbers[:2]) & {5, 6}) == 1
        assert numbers[2] != 4 and why == "K reached"


def test_far_counts_from_what_is_given_anyway():
    centres = torch.zeros(9, 3)
    centres[2, 0] = 8.0
    for seed in range(5):
        numbers, _ = context("x.x.x.x.x", 4, "far", chosen=(8,), seed=seed, centres=centres)
        # 2 is far in space, 0 in time, 4 in the middle of what is left.
        assert numbers == [2, 0, 4, 6]


@pytest.mark.parametrize("choose", list(CONTEXT_CHOICES))
def test_what_is_given_anyway_is_not_chosen_again(choose):
    numbers, _ = context("xxxxx", 9, choose, chosen=(4, 1))
    # The first frame alone is given anyway.
    assert sorted(numbers) == ([] if choose == "first" else [0, 2, 3])
    assert context("xxxxx", 0, choose)[0] == []


@pytest.mark.parametrize("choose", ["random", "random_in_view", "non_adjacent"])
def test_a_function_of_the_seed(choose):
    first, again, other = (context("x." * 20, 5, choose, seed=s)[0] for s in (1, 1, 2))
    assert first == again and first != other


def test_an_unknown_way_names_the_known_ones():
    with pytest.raises(ValueError, match="random, random_in_view, non_adjacent, far, got 'best'"):
        context("xx", 1, "best")
