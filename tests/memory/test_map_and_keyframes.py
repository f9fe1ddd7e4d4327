import pytest
import torch

from anchorweave.clip import Clip, join_clips
from anchorweave.memory import Bank, MapAndKeyframes, MapAndKeyframesConfig, MemoryConfig
from anchorweave.rendering import RenderConfig
from anchorweave.retrieval import RetrievalConfig
from tests.alike import alike
from tests.rooms import look, view_room, walk


def memory_at(path, **options):
    small = {"voxel": 0.1, "splat_radius": 0, **options}
    config = MemoryConfig("map_and_keyframes", map_and_keyframes=MapAndKeyframesConfig(**small))
    return MapAndKeyframes(Bank(path), config, RetrievalConfig(downscale=1))


def views(yaws) -> Clip:
    """The room from its middle."""
    return view_room(look([[0.0, 0.0, 0.0]] * len(yaws), yaws))


def wall(colour=0.5, depth=2.0, static=None) -> Clip:
    """A wall of one colour, seen from the origin."""
    cameras = look([[0.0, 0.0, 0.0]], [0.0])
    frames = torch.full((1, 3, *cameras.size), colour)
    return Clip(frames, torch.full((1, *cameras.size), depth), cameras, ("wall",), static)


# Frames 0, 2 and 4 reveal much, the others nothing.
SEEN = [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 2.0]


def given(memory, yaws=(0.0,)) -> list[int]:
    return [pick.memory for pick in memory.retrieve(views(list(yaws)).cameras).report[0].picks]


def test_one_anchor_told_from_the_first_target_camera(tmp_path):
    memory = memory_at(tmp_path)
    memory.update(walk(5))
    got = memory.retrieve(walk(9).cameras[2:])
    assert len(got.anchors) == 1
    assert alike(got.anchors.target2source[0], got.target2first)


def test_references_are_key_frames_and_then_the_last_frames(tmp_path):
    memory, seen = memory_at(tmp_path, working=2), views(SEEN)
    memory.update(seen)
    got = memory.retrieve(views([0.0, 0.5]).cameras)
    (report,) = got.report
    assert memory.key_frames.numbers == [0, 2, 4]
    assert [pick.memory for pick in report.picks] == [0, 2, 4, 5, 6]
    assert [pick.forced for pick in report.picks] == [False, False, False, True, True]
    assert (report.pool, report.stopped) == (3, "every key frame")
    torch.testing.assert_close(
        got.references.frames, seen.frames[[0, 2, 4, 5, 6]], atol=3e-3, rtol=0
    )
    torch.testing.assert_close(got.references.cameras.c2w, seen.cameras.c2w[[0, 2, 4, 5, 6]])
    assert report.picks[0].gain > 0.5 and report.picks[2].gain == 0
    assert report.picks[1].coverage == pytest.approx(sum(p.gain for p in report.picks[:2]))


def test_a_key_frame_among_the_last_frames_is_given_once(tmp_path):
    memory = memory_at(tmp_path, working=4)
    memory.update(views(SEEN))
    report = memory.retrieve(views([0.0]).cameras).report[0]
    assert [pick.memory for pick in report.picks] == [0, 2, 3, 4, 5, 6]
    assert [pick.forced for pick in report.picks] == [False, False, True, True, True, True]
    assert report.pool == 2


@pytest.mark.parametrize(
    "episodic, working, expected",
    [(0, 2, [5, 6]), (2, 0, [0, 4]), (0, 0, []), (1, 1, [0, 6]), (9, 99, list(range(7)))],
)
def test_each_kind_of_memory_can_be_switched_off(tmp_path, episodic, working, expected):
    memory = memory_at(tmp_path, episodic=episodic, working=working)
    memory.update(views(SEEN))
    got = memory.retrieve(views([0.0]).cameras)
    assert [pick.memory for pick in got.report[0].picks] == expected
    assert len(got.references) == len(expected) and got.anchors.visible.any()


def test_key_frames_that_overlap_with_the_target(tmp_path):
    memory = memory_at(tmp_path, working=0, episodic=1, choose="frustum")
    memory.update(views(SEEN))
    assert [given(memory, [yaw]) for yaw in (0.1, 1.1, 1.9)] == [[0], [2], [4]]
    assert given(memory, [4.5]) == []
    more = memory_at(tmp_path, working=0, episodic=3, choose="frustum")
    assert given(more, [0.1, 1.1]) == [0, 2]
    report = more.retrieve(views([0.1, 1.1]).cameras).report[0]
    assert (report.pool, report.stopped) == (3, "no other key frame adds overlap")


def test_how_frames_are_cut_into_clips_does_not_matter(tmp_path):
    seen = join_clips([walk(4), views(SEEN)])
    parts, whole = memory_at(tmp_path / "a"), memory_at(tmp_path / "b")
    for start, stop in [(0, 4), (4, 5), (5, 11)]:
        names = seen.names[start:stop]
        span = slice(start, stop)
        parts.update(Clip(seen.frames[span], seen.depth[span], seen.cameras[span], names))
    whole.update(seen)
    # The first clip chooses how finely depth is stored.
    assert parts.bank.depth_unit == whole.bank.depth_unit
    assert parts.key_frames.numbers == whole.key_frames.numbers
    assert alike(parts.cloud.points, whole.cloud.points)
    assert alike(parts.cloud.colours, whole.cloud.colours)


def test_a_map_that_outgrew_its_cap_is_that_of_the_reopened_bank(tmp_path):
    memory = memory_at(tmp_path, cap=20)
    memory.update(wall(depth=1.0))
    assert memory.map.side == 0.1
    memory.update(walk(4))
    assert memory.map.side > 0.15
    reopened = memory_at(tmp_path, cap=20)
    assert alike(reopened.cloud.points, memory.cloud.points)
    assert alike(reopened.cloud.colours, memory.cloud.colours)


def test_what_others_looked_through_is_not_in_the_anchor(tmp_path):
    passing = wall(1.0)
    passing.depth[0, 6:18, 8:24] = 1.0
    memory = memory_at(tmp_path)
    memory.update(passing)
    before = memory.known_depth(wall().cameras)
    assert (before[0, 9:15, 11:21][before[0, 9:15, 11:21] > 0] < 1.1).all()
    memory.update(wall(0.2))
    known = memory.known_depth(wall().cameras)
    assert known[known > 0].min() > 1.9


def test_moving_things_never_reach_the_map(tmp_path):
    static = torch.ones(1, 24, 32, dtype=torch.bool)
    static[:, :, 16:] = False
    memory = memory_at(tmp_path)
    memory.update(wall(0.2))
    memory.update(wall(0.8, static=static))
    shown = memory.retrieve(wall().cameras).anchors
    left, right = (
        shown.video[0, 0, 0, :, part][shown.visible[0, 0, :, part]].mean()
        for part in (slice(0, 15), slice(17, 32))
    )
    assert (left, right) == (pytest.approx(0.5, abs=0.01), pytest.approx(0.2, abs=0.01))


def test_a_minimum_weight_wants_a_second_look(tmp_path):
    memory = memory_at(tmp_path, min_weight=2)
    memory.update(wall())
    assert len(memory.cloud) == 0
    memory.update(wall())
    assert len(memory.cloud) > 0


def test_the_map_is_drawn_with_points_of_its_own_size(tmp_path):
    memory = memory_at(tmp_path, voxel=0.3)
    memory.update(wall())
    sparse = memory.retrieve(wall().cameras).anchors.visible.float().mean()
    options = MapAndKeyframesConfig(voxel=0.3, splat_radius=2)
    config = MemoryConfig("map_and_keyframes", map_and_keyframes=options)
    dense = MapAndKeyframes(Bank(tmp_path), config, None, RenderConfig(splat_radius=0))
    assert sparse < 0.2 < 0.9 < dense.retrieve(wall().cameras).anchors.visible.float().mean()


def test_an_empty_memory_has_no_references(tmp_path):
    got = memory_at(tmp_path).retrieve(walk(9).cameras)
    assert got.references.frames.shape == (0, 3, 24, 32) and len(got.anchors) == 1
    assert got.report[0].stopped == "no key frame before the last frames"


def test_a_frame_that_shows_nothing_is_remembered_all_the_same(tmp_path):
    memory = memory_at(tmp_path, working=1)
    memory.update(wall(depth=0.0))
    assert len(memory) == 1 and len(memory.cloud) == 0 and given(memory) == [0]
    memory.update(wall())
    assert len(memory.map) == 2 and memory.key_frames.numbers == [1] and given(memory) == [1]


@pytest.mark.parametrize(
    "option, message",
    [
        ({"voxel": 0.0}, "map_and_keyframes.voxel must be a length above 0, got 0.0"),
        ({"voxel": float("nan")}, "map_and_keyframes.voxel"),
        ({"cap": 0}, "map_and_keyframes.cap must be 1 or more, got 0"),
        ({"min_weight": 0}, "map_and_keyframes.min_weight must be 1 or more"),
        ({"splat_radius": -1}, "map_and_keyframes.splat_radius must be 0 or more"),
        ({"episodic": -1}, "map_and_keyframes.episodic must be 0 or more"),
        ({"working": -1}, "map_and_keyframes.working must be 0 or more"),
        ({"min_revealed": 1.1}, r"min_revealed must be in \[0, 1\], got 1.1"),
        ({"depth_tolerance": -0.1}, "depth_tolerance must be in"),
        ({"min_overlap": 2.0}, "min_overlap must be in"),
    ],
)
def test_bad_options_are_refused(option, message):
    with pytest.raises(ValueError, match=message):
        MapAndKeyframesConfig(**option)


def test_a_choice_that_is_none_is_refused():
    config = MapAndKeyframesConfig()
    object.__setattr__(config, "choose", "newest")  # past the type checks that only tests have
    with pytest.raises(ValueError, match="choose must be revealed or frustum, got 'newest'"):
        config.__post_init__()
