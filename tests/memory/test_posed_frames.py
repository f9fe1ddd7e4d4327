import math

import pytest
import torch

from anchorweave.anchors import composite
from anchorweave.clip import Clip, join_clips
from anchorweave.memory import Bank, MemoryConfig, PosedFrames, PosedFramesConfig
from anchorweave.retrieval import RetrievalConfig
from tests.rooms import look, view_room, walk


def memory_at(path, anchors=4, seed=0, **options):
    config = MemoryConfig("posed_frames", posed_frames=PosedFramesConfig(**options))
    retrieval = RetrievalConfig(anchors=anchors, downscale=1, seed=seed)
    return PosedFrames(Bank(path), config, retrieval)


def turns(yaws) -> Clip:
    """Frames seen from one place."""
    return view_room(look([[0.0, 0.0, 0.0]] * len(yaws), yaws))


# Two looks ahead with a look back after each, and one aside: 0 and 2 see what is ahead.
YAWS = [0.0, math.pi, 0.1, math.pi, 1.6]
AHEAD = look([[0.0, 0.0, 0.0]] * 5, [0.0] * 5)


def given(report):
    return [pick.memory for pick in report.picks]


def test_the_newest_frame_and_those_in_view_in_the_order_of_the_bank(tmp_path):
    memory, seen = memory_at(tmp_path, context=3), turns(YAWS)
    memory.update(seen)
    got = memory.retrieve(AHEAD)
    (report,) = got.report
    assert given(report) == [0, 2, 4] and report.pool == 2
    assert (report.start, report.stop, report.stopped) == (0, 5, "K reached")
    assert [pick.forced for pick in report.picks] == [False, False, True]
    torch.testing.assert_close(
        got.references.frames, seen.frames[[0, 2, 4]], atol=0.51 / 255, rtol=0
    )
    expected = AHEAD[0].w2c @ seen.cameras.c2w[[0, 2, 4]]
    torch.testing.assert_close(got.references.reference2first, expected)
    # Told from depth: 0 covers nearly all that is ahead, 4 next to nothing.
    assert report.picks[0].gain > 0.8 and report.picks[2].gain < 0.1


@pytest.mark.parametrize("context", [1, 2, 4, 20])
def test_no_more_than_k_frames_and_the_newest_always(tmp_path, context):
    memory = memory_at(tmp_path, context=context)
    memory.update(turns(YAWS))
    got = memory.retrieve(AHEAD)
    assert len(got.references) == min(context, 5) == len(set(given(got.report[0])))
    assert given(got.report[0])[-1] == 4 and len(got.anchors) == 0
    if context == 4:
        assert got.report[0].stopped == "K reached, 1 at random because 2 are in view"
    if context == 20:
        assert got.report[0].stopped == "every frame is given"


def test_each_way_to_choose_is_used(tmp_path):
    seen = turns([0.0, 0.02, 0.04, math.pi, 0.0, math.pi, math.pi])
    memory_at(tmp_path).update(seen)
    drawn = {}
    for choose in ("far", "non_adjacent", "random_in_view", "random"):
        drawn[choose] = []
        for seed in range(8):
            memory = memory_at(tmp_path, seed=seed, context=3, choose=choose)
            (report,) = memory.retrieve(AHEAD).report
            drawn[choose].append(given(report)[:2])
            assert report.pool == (6 if choose == "random" else 4)
    for choose in ("far", "non_adjacent"):
        assert all(first < 3 and second == 4 for first, second in drawn[choose])
    assert any(second < 3 for _, second in drawn["random_in_view"])
    assert not any({3, 5} & set(frames) for frames in drawn["random_in_view"])
    assert any({3, 5} & set(frames) for frames in drawn["random"])


def test_the_seed_decides_what_is_random(tmp_path):
    memory_at(tmp_path).update(walk(12))
    memories = [memory_at(tmp_path, seed=seed, context=4) for seed in (1, 2)]
    one, other = (given(memory.retrieve(AHEAD).report[0]) for memory in memories)
    assert one != other


def test_views_end_where_the_options_say(tmp_path):
    # From 1 ahead and from 2.5 behind: what they share with the target begins with their own view.
    seen = look([[0.0, 0.0, 1.0], [0.0, 0.0, -2.5], [0.0, 0.0, 0.0]], [0.0, 0.0, 0.0])
    memory_at(tmp_path).update(view_room(seen))
    pools = [
        memory_at(tmp_path, **limits).retrieve(AHEAD).report[0].pool
        for limits in ({"far": 1.0}, {"far": 3.0}, {"far": 9.0}, {"near": 2.0, "far": 3.0})
    ]
    assert pools == [0, 1, 2, 0]


def test_the_least_overlap_decides_what_is_in_view(tmp_path):
    memory_at(tmp_path).update(turns([0.0, 0.3, 0.6, 0.9, 1.2]))
    pools = [
        memory_at(tmp_path, min_overlap=share).retrieve(AHEAD).report[0].pool
        for share in (0.01, 0.3, 0.6, 0.99)
    ]
    assert pools == [4, 3, 2, 1]


def test_rays_are_the_paper_s_rule(tmp_path):
    # Opposite each other: rays meet half way. Turned on the spot: they meet at the target only.
    seen = look([[0.0, 0.0, 2.0], [0.0, 0.0, -1.0], [0.0, 0.0, -1.0]], [math.pi, 0.3, math.pi])
    target = look([[0.0, 0.0, -1.0]], [0.0])
    memory_at(tmp_path).update(view_room(seen))
    pools = [
        memory_at(tmp_path, overlap=overlap).retrieve(target).report[0].pool
        for overlap in ("rays", "area")
    ]
    assert pools == [1, 2]


def test_frames_as_anchors_stand_still(tmp_path):
    memory, seen = memory_at(tmp_path, anchors=3, as_anchors=True), turns(YAWS)
    memory.update(seen)
    got = memory.retrieve(AHEAD)
    anchors, numbers = got.anchors, given(got.report[0])
    assert len(got.references) == 0 and len(anchors) == 3 and anchors.visible.all()
    # Slot 0 is the newest; the other two slots suffice for what is in view.
    assert numbers[0] == 4 and set(numbers[1:]) == {0, 2}
    for slot, number in enumerate(numbers):
        frame = seen.frames[number].expand(5, -1, -1, -1)
        torch.testing.assert_close(anchors.video[slot], frame, atol=0.51 / 255, rtol=0)
        expected = seen.cameras[number].w2c @ AHEAD.c2w
        torch.testing.assert_close(anchors.target2source[slot], expected)


def test_anchor_slots_without_a_frame_show_nothing(tmp_path):
    memory = memory_at(tmp_path, anchors=4, as_anchors=True, context=2)
    assert not memory.retrieve(AHEAD).anchors.visible.any()
    memory.update(turns(YAWS))
    got = memory.retrieve(AHEAD).anchors
    assert len(got) == 4 and got.visible.flatten(1).any(dim=1).tolist() == [True] * 2 + [False] * 2


def test_no_anchors_make_a_video_that_shows_nothing(tmp_path):
    memory = memory_at(tmp_path)
    memory.update(turns(YAWS))
    video, seen = composite(memory.retrieve(AHEAD).anchors)
    assert video.shape == (5, 3, 24, 32) and not video.any() and not seen.any()


def test_depth_plays_no_part_in_the_choice(tmp_path):
    seen = join_clips([walk(6), turns(YAWS)])
    blind = Clip(seen.frames, torch.zeros_like(seen.depth), seen.cameras, seen.names)
    memories = [memory_at(tmp_path / name, context=5) for name in ("a", "b")]
    for memory, clip in zip(memories, (seen, blind), strict=True):
        memory.update(clip)
    one, other = (memory.retrieve(AHEAD) for memory in memories)
    assert given(one.report[0]) == given(other.report[0])
    assert torch.equal(one.references.frames, other.references.frames)
    # The report says that nothing is known of what they cover.
    assert {pick.gain for pick in other.report[0].picks} == {0.0}


def test_cameras_without_a_common_up_are_refused_unless_nothing_is_looked_at(tmp_path):
    memory_at(tmp_path).update(turns(YAWS))
    upside_down = AHEAD.c2w.clone()
    upside_down[:, :3, :2] *= -1
    target = type(AHEAD)(upside_down, AHEAD.K, AHEAD.size)
    assert len(memory_at(tmp_path, choose="random").retrieve(target).references) == 5
    with pytest.raises(ValueError, match="no common up direction"):
        memory_at(tmp_path).retrieve(target)


def test_anchors_of_another_size_than_the_frames_are_refused(tmp_path):
    larger = AHEAD.resized((48, 64))
    memory = memory_at(tmp_path, as_anchors=True)
    assert len(memory.retrieve(larger).anchors) == 4
    memory.update(turns(YAWS))
    with pytest.raises(ValueError, match=r"frames of \(24, 32\).*anchors of \(48, 64\)"):
        memory.retrieve(larger)


@pytest.mark.parametrize(
    "option, message",
    [
        ({"context": 0}, "posed_frames.context must be 1 or more, got 0"),
        ({"min_overlap": 0.0}, r"posed_frames.min_overlap must be in \(0, 1\], got 0.0"),
        ({"min_overlap": 1.1}, "posed_frames.min_overlap"),
        ({"near": -1.0}, "posed_frames.far must be above near, .*got near -1.0"),
        ({"near": 5.0}, "posed_frames.far must be above near, .*far 5.0"),
        ({"far": float("inf")}, "posed_frames.far"),
    ],
)
def test_bad_options_are_refused(option, message):
    with pytest.raises(ValueError, match=message):
        PosedFramesConfig(**option)


@pytest.mark.parametrize(
    "name, known", [("choose", "random, random_in_view, non_adjacent, far"), ("overlap", "area")]
)
def test_unknown_names_are_refused_with_the_known_ones(name, known):
    options = PosedFramesConfig()
    object.__setattr__(options, name, "best")  # past the type checks that only tests have
    with pytest.raises(ValueError, match=f"posed_frames.{name} must be .*{known}.*got 'best'"):
        options.__post_init__()


@pytest.mark.parametrize(
    ("choose", "numbers", "stopped"),
    [
        ("first", [[0]], "the first frame alone"),
        (
            "first_and_random",
            [[0, i, j] for i in range(1, 5) for j in range(i + 1, 5)],
            "K reached",
        ),
        ("recent", [[2, 3, 4]], "K reached"),
    ],
)
def test_contexts_that_look_at_no_camera(tmp_path, choose, numbers, stopped):
    """The baselines of Context-as-Memory's table 1."""
    met = set()
    for seed in range(6):
        memory = memory_at(tmp_path, seed=seed, context=3, choose=choose)
        if not len(memory):
            memory.update(turns(YAWS))
        (report,) = memory.retrieve(AHEAD).report
        assert given(report) in numbers and report.stopped == stopped and report.pool == 4
        forced = [pick.memory for pick in report.picks if pick.forced]
        assert forced == [0 if choose.startswith("first") else 4]
        met.add(tuple(given(report)))
    assert (len(met) > 1) == (choose == "first_and_random")
