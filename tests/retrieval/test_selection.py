"""Selection in a hall whose far wall is at depth 4: coverage has a closed form there."""

import pytest
import torch

from anchorweave.anchors import Pick
from anchorweave.geometry.cameras import Cameras, intrinsics
from anchorweave.retrieval import CHOICES, CoarseViews, RetrievalConfig, chunks, select

WALL, COARSE, FINE = 4.0, (6, 10), (48, 80)


def cameras(shifts, size, focal):
    """Cameras side by side before the wall; one coarse pixel is 0.4 on the wall."""
    c2w = torch.eye(4).repeat(len(shifts), 1, 1)
    c2w[:, 0, 3] = 0.4 * torch.tensor(shifts)
    K = intrinsics(focal, focal, size[1] / 2, size[0] / 2).expand(len(shifts), 3, 3)
    return Cameras(c2w, K, size)


def target(frames, shift=0.0):
    return cameras([shift] * frames, FINE, 80.0)


def memories(shifts):
    """Memories that stand `shifts` coarse pixels to the right of the target."""
    depth = torch.full((len(shifts), *COARSE), WALL)
    names = tuple(f"frame {i}" for i in range(len(shifts)))
    return CoarseViews(depth, cameras([float(s) for s in shifts], COARSE, 10.0), names)


def config(**changed):
    return RetrievalConfig(**{"forced": "none", **changed})


def memory_indices(report):
    return [pick.memory for pick in report.picks]


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (0, []),
        (1, [(0, 1)]),
        (9, [(0, 9)]),
        (10, [(0, 9), (9, 10)]),
        (25, [(0, 9), (9, 17), (17, 25)]),
        (49, [(0, 9), (9, 17), (17, 25), (25, 33), (33, 41), (41, 49)]),
        (20, [(0, 9), (9, 17), (17, 20)]),
    ],
)
def test_frame_0_belongs_to_the_first_chunk(frames, expected):
    assert chunks(frames, 8) == expected


def test_one_report_per_chunk():
    reports = select(target(25), memories([0]), config(), None)
    assert [(r.start, r.stop, r.pool) for r in reports] == [(0, 9, 1), (9, 17, 1), (17, 25, 1)]


def test_gain_and_coverage_are_shares_of_the_chunk():
    """A memory k pixels aside covers 10 - k of 10 columns."""
    (report,) = select(target(9), memories([4, -3]), config(), None)
    assert report.picks == (
        Pick(0, 1, "frame 1", 0.7, 0.7, False),
        Pick(1, 0, "frame 0", 0.3, 1.0, False),
    )
    assert report.stopped == "full coverage"


def test_the_first_frame_takes_slot_0_and_counts_first():
    views = memories([-5, 0, 5])
    (report,) = select(target(9), views, config(forced="first"), 0)
    assert report.picks[0] == Pick(0, 0, "frame 0", 0.5, 0.5, True)
    assert [p.forced for p in report.picks[1:]] == [False]
    assert memory_indices(report) == [0, 2]  # 1 and 2 add as much: the newer one
    assert report.pool == 2
    for reports in (
        select(target(9), views, config(forced="none"), 0),
        select(target(9), views, config(forced="first"), None),
    ):
        assert memory_indices(reports[0]) == [1] and reports[0].pool == 3


def test_the_forced_memory_is_kept_where_it_covers_nothing():
    (report,) = select(target(9), memories([100, 0]), config(forced="first"), 0)
    assert report.picks == (
        Pick(0, 0, "frame 0", 0.0, 0.0, True),
        Pick(1, 1, "frame 1", 1.0, 1.0, False),
    )


def test_of_equal_memories_the_newer_one():
    (report,) = select(target(9), memories([2, 2, 2]), config(anchors=1), None)
    assert memory_indices(report) == [2]


@pytest.mark.parametrize(
    ("shifts", "changed", "stopped", "picked"),
    [
        ([0, 3], {}, "full coverage", [0]),
        ([2, 2], {}, "no gain above 0.1%", [1]),
        ([6, 5, 4], {"anchors": 2, "min_gain": 0.05}, "no gain above 5%", [2]),
        ([-6, 6, 4], {"anchors": 1}, "K reached", [2]),
        ([4], {}, "pool empty", [0]),
    ],
)
def test_every_reason_to_stop(shifts, changed, stopped, picked):
    (report,) = select(target(9), memories(shifts), config(**changed), None)
    assert (report.stopped, memory_indices(report)) == (stopped, picked)


def test_a_chunk_that_no_memory_overlaps_is_reported():
    views, far_away = memories([0, 1]), target(9, shift=400.0)
    (report,) = select(far_away, views, config(), None)
    assert (report.pool, report.picks, report.stopped) == (0, (), "pool empty")
    (report,) = select(far_away, views, config(forced="first"), 1)
    assert (report.pool, memory_indices(report), report.stopped) == (0, [1], "pool empty")
    assert report.picks[0].forced and report.picks[0].coverage == 0


@pytest.mark.parametrize("choose", list(CHOICES))
def test_no_memories_at_all(choose):
    reports = select(target(17), memories([]), config(choose=choose, forced="first"), None)
    stopped = "no memory of the first frame" if choose == "first" else "pool empty"
    assert [(r.pool, r.picks, r.stopped) for r in reports] == [(0, (), stopped)] * 2


def test_memories_without_depth_are_not_in_the_pool():
    views = memories([0, 0])
    views.depth[1] = 0.0
    (report,) = select(target(9), views, config(), None)
    assert report.pool == 1 and memory_indices(report) == [0]


def test_the_overlap_threshold_decides_who_is_in_the_pool():
    views = memories([0, 4, 8, 12])
    pools = [
        select(target(9), views, config(min_overlap=share), None)[0].pool
        for share in (0.0, 0.05, 0.5, 1.0)
    ]
    assert pools == [4, 3, 2, 1]


def test_overlap_takes_the_most_overlapping_ones_whatever_they_add():
    views = memories([5, 1, 1, 0, -5])
    (report,) = select(target(9), views, config(choose="overlap", anchors=3), None)
    assert memory_indices(report) == [3, 2, 1] and report.stopped == "K reached"
    assert [pick.gain for pick in report.picks] == [1.0, 0.0, 0.0]
    (report,) = select(target(9), views, config(choose="overlap", anchors=9), None)
    assert len(report.picks) == 5 and report.stopped == "pool empty"


def random_reports(choose, seeds, views, frames=25, **changed):
    return [
        select(target(frames), views, config(choose=choose, seed=seed, **changed), None)
        for seed in seeds
    ]


@pytest.mark.parametrize("choose", ["random", "random_in_view", "non_adjacent"])
def test_random_choices_are_a_function_of_seed_and_chunk(choose):
    # Every other one sees nothing, so that each run is one memory.
    views = memories([0] * 30)
    views.depth[::2] = 0.0
    first, again, other = random_reports(choose, (3, 3, 4), views)
    assert first == again
    assert [memory_indices(r) for r in first] != [memory_indices(r) for r in other]
    assert len({tuple(memory_indices(r)) for r in first}) == 3  # chunks differ
    for report in first:
        assert len(set(memory_indices(report))) == 4 and report.stopped == "K reached"


def test_random_takes_any_memory_and_random_in_view_those_of_the_pool():
    views = memories([0, 500, 1, 500, 2])
    anywhere = random_reports("random", range(20), views, frames=9, anchors=2)
    assert {i for (report,) in anywhere for i in memory_indices(report)} == {0, 1, 2, 3, 4}
    assert {report.pool for (report,) in anywhere} == {3}
    in_view = random_reports("random_in_view", range(20), views, frames=9, anchors=2)
    assert {i for (report,) in in_view for i in memory_indices(report)} == {0, 2, 4}
    (few,) = random_reports("random_in_view", [0], views, frames=9, anchors=5)[0]
    assert len(few.picks) == 3 and few.stopped == "pool empty"


@pytest.mark.parametrize("choose", ["random", "random_in_view", "non_adjacent", "far", "recent"])
def test_every_choice_keeps_the_forced_slot(choose):
    (report,) = select(target(9), memories([0] * 5), config(choose=choose, forced="first"), 2)
    assert memory_indices(report)[0] == 2 and len(set(memory_indices(report))) == 4
    assert [pick.forced for pick in report.picks] == [True, False, False, False]


def test_non_adjacent_takes_one_of_each_run_first_and_never_leaves_the_pool():
    views = memories([0, 0, 0, 500, 1, 1, 500, 2])
    runs = [{0, 1, 2}, {4, 5}, {7}]
    reports = random_reports("non_adjacent", range(20), views, frames=9, anchors=3)
    drawn = [set(memory_indices(report)) for (report,) in reports]
    assert all([len(some & run) for run in runs] == [1, 1, 1] for some in drawn)
    assert set.union(*drawn) == {0, 1, 2, 4, 5, 7}
    ((report,),) = random_reports("non_adjacent", [0], views, frames=9, anchors=8)
    assert {len(set(memory_indices(report)[:3]) & run) for run in runs} == {1}
    assert set(memory_indices(report)) == {0, 1, 2, 4, 5, 7} and report.stopped == "pool empty"


def test_far_takes_the_farthest_in_space_or_time():
    """Memories 0, 2 and 4 see the wall; the two between them part the runs."""

    def order(shifts, first):
        views = memories(shifts)
        views.depth[[1, 3]] = 0.0
        changed = {"forced": "none" if first is None else "first"}
        (report,) = select(target(9), views, config(choose="far", **changed), first)
        return memory_indices(report)

    # From the newest: 0 is 4/5 of the time away; 2 is all of the space away in the second case.
    assert order([0, 0, 0, 0, 0], None) == [4, 0, 2]
    assert order([0, 0, -6, 0, 0], None) == [4, 2, 0]
    assert order([0, 0, 0, 0, 0], 0) == [0, 4, 2]


def test_recent_takes_the_newest_whatever_they_show():
    (report,) = select(
        target(9), memories([0, 0, 1, 500]), config(choose="recent", anchors=3), None
    )
    assert memory_indices(report) == [3, 2, 1] and report.stopped == "K reached"
    assert report.picks[0].gain == 0 and report.pool == 3


@pytest.mark.parametrize("forced", ["first", "none"])
def test_first_takes_the_first_frame_alone(forced):
    views = memories([0, 5, 0])
    (report,) = select(target(9), views, config(choose="first", forced=forced), 1)
    assert memory_indices(report) == [1] and report.stopped == "the first frame alone"
    assert report.picks[0].forced == (forced == "first")
    (report,) = select(target(9), views, config(choose="first", forced=forced), None)
    assert report.picks == () and report.stopped == "no memory of the first frame"


def test_the_world_frame_does_not_matter():
    """Everything moved together by one rigid transform: the same memories are picked."""
    views, goal = memories([-5, 3, 7, 1, -8]), target(9, shift=2.3)
    before = select(goal, views, config(), None)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))[0]
    move = torch.eye(4)
    move[:3, :3], move[:3, 3] = turn * torch.det(turn), torch.tensor([30.0, -20.0, 10.0])
    for item in (views.cameras, goal):
        item.c2w.copy_(move @ item.c2w)
    after = select(goal, views, config(), None)
    assert memory_indices(before[0]) == memory_indices(after[0])


def test_bad_input_is_refused():
    for first in (2, -1):
        with pytest.raises(ValueError, match=f"first={first} is not one of the 2 memories"):
            select(target(9), memories([0, 1]), config(), first)
    bad = {"anchors": 0, "chunk": 0, "downscale": 0, "min_overlap": 1.5, "min_gain": -0.1}
    for name, value in {**bad, "seed": -1}.items():
        with pytest.raises(ValueError, match=f"{name}.* got {value}"):
            config(**{name: value})
    for name in ("forced", "choose"):
        options = config()
        object.__setattr__(options, name, "best")  # past the type checks that only tests have
        with pytest.raises(ValueError, match=f"{name} must be .*got 'best'"):
            options.__post_init__()
