import pytest
import torch

from anchorweave.clip import Clip, join_clips
from anchorweave.config import load_config
from anchorweave.memory import Bank, GlobalCloud, GlobalCloudConfig, MemoryConfig
from anchorweave.rendering.anchor_video import render_anchor
from anchorweave.retrieval import RetrievalConfig
from anchorweave.run_config import RunConfig
from tests.alike import alike
from tests.rooms import look, view_room, walk


def memory_at(path, depth_edge=0.04, **options):
    config = MemoryConfig(
        "global_cloud", depth_edge=depth_edge, global_cloud=GlobalCloudConfig(**options)
    )
    return GlobalCloud(Bank(path), config, RetrievalConfig(downscale=1))


def wall(colour, depth=2.0, static=None) -> Clip:
    """A wall of one colour, seen from the origin."""
    cameras = look([[0.0, 0.0, 0.0]], [0.0])
    frames = torch.full((1, 3, *cameras.size), colour)
    return Clip(frames, torch.full((1, *cameras.size), depth), cameras, (f"{colour}",), static)


def test_one_anchor_told_from_the_first_target_camera(tmp_path):
    memory = memory_at(tmp_path)
    memory.update(walk(5))
    got = memory.retrieve(walk(9).cameras[2:])
    assert len(got.anchors) == 1
    assert alike(got.anchors.target2source[0], got.target2first)
    assert not alike(got.target2first[-1], torch.eye(4))


def test_two_colours_in_one_voxel_are_averaged(tmp_path):
    memory = memory_at(tmp_path)
    for colour in (0.2, 0.6, 0.4):
        memory.update(wall(colour))
    got = memory.retrieve(wall(0.0).cameras).anchors
    assert len(memory.cloud) == 24 * 32 and got.visible.all()
    torch.testing.assert_close(got.video, torch.full_like(got.video, 0.4), atol=1e-3, rtol=0)


def test_larger_voxels_keep_fewer_points(tmp_path):
    clip = walk(4)
    counts = []
    for side in (0.01, 0.1, 0.4):
        memory = memory_at(tmp_path / f"{side}", voxel=side)
        memory.update(clip)
        assert torch.floor(memory.cloud.points / side).unique(dim=0).shape[0] == len(memory.cloud)
        counts.append(len(memory.cloud))
    assert counts[0] > counts[1] > 4 * counts[2]


def test_moving_things_never_reach_the_cloud(tmp_path):
    static = torch.ones(1, 24, 32, dtype=torch.bool)
    static[:, :, 16:] = False
    memory = memory_at(tmp_path)
    memory.update(wall(0.2))
    memory.update(wall(0.8, static=static))
    video = memory.retrieve(wall(0.0).cameras).anchors.video[0, 0, 0]
    assert video[:, :16].mean() == pytest.approx(0.5, abs=0.01)
    assert video[:, 16:].mean() == pytest.approx(0.2, abs=0.01)


def test_points_at_depth_edges_are_dropped(tmp_path):
    clip = walk(1)
    clip.depth[0, 10:14, 10:20] *= 0.5
    sharp, every = memory_at(tmp_path / "a"), memory_at(tmp_path / "b", depth_edge=10.0)
    for memory in (sharp, every):
        memory.update(clip)
    assert 0 < len(sharp.cloud) < len(every.cloud)


# Cameras at one place that look around: those that look the same way show the same walls.
YAWS = [0.0, 0.8, 1.6, 2.4]


def views(yaws) -> Clip:
    return view_room(look([[0.0, 0.0, 0.0]] * len(yaws), yaws))


def test_references_come_in_the_order_in_which_the_target_sees_them(tmp_path):
    memory = memory_at(tmp_path, references=2)
    seen = views(YAWS)
    memory.update(seen)
    # Every second target frame asks; the ones between look at memory 0.
    got = memory.retrieve(views([1.65, 0.0, 0.75, 0.0, 2.4]).cameras)
    (report,) = got.report
    assert [pick.memory for pick in report.picks] == [2, 1]
    assert [pick.name for pick in report.picks] == [seen.names[2], seen.names[1]]
    torch.testing.assert_close(got.references.frames, seen.frames[[2, 1]], atol=3e-3, rtol=0)
    torch.testing.assert_close(got.references.cameras.c2w, seen.cameras.c2w[[2, 1]])
    assert (report.start, report.stop, report.stopped) == (0, 5, "K reached")
    assert report.picks[0].gain > 0.2
    assert report.picks[1].coverage == pytest.approx(sum(p.gain for p in report.picks))


def test_no_more_references_than_k_and_each_frame_once(tmp_path):
    seen = join_clips([views(YAWS), views(YAWS[:1])])
    for count in (0, 1, 3):
        memory = memory_at(tmp_path / f"{count}", references=count)
        memory.update(seen)
        got = memory.retrieve(views([0.0] * 9).cameras)
        assert len(got.references) == count == len(got.report[0].picks)
        chosen = [pick.memory for pick in got.report[0].picks]
        # The newer of two equal frames first, then the other, then the nearest one.
        assert chosen == [4, 0, 1][:count]
        assert got.anchors.visible.any()


# To both target frames that ask, the first of these frames is the nearest; the second of them has
# little in common with the other one. Voxels that both frames' points fuse in.
BEST_FOR_BOTH, ASKING = [0.3, 0.0], [0.2, 0.0, 0.85]
COARSE = {"references": 2, "voxel": 0.3, "overlap_voxel": 0.3}


def chosen(memory, yaws) -> list[int]:
    return [pick.memory for pick in memory.retrieve(views(yaws).cameras).report[0].picks]


def test_an_assignment_leaves_a_frame_to_the_target_that_has_no_other(tmp_path):
    for choose, expected in {"overlap": [0, 1], "hungarian": [1, 0]}.items():
        memory = memory_at(tmp_path / choose, choose=choose, min_overlap=0.0, **COARSE)
        memory.update(views(BEST_FOR_BOTH))
        assert chosen(memory, ASKING) == expected
    report = memory.retrieve(views(ASKING).cameras).report[0]
    assert (report.pool, report.stopped) == (2, "K reached")


def test_an_assignment_takes_what_the_threshold_refuses(tmp_path):
    memory_at(tmp_path).update(views(BEST_FOR_BOTH))
    for choose, expected in {"overlap": [0], "hungarian": [1, 0]}.items():
        memory = memory_at(tmp_path, choose=choose, min_overlap=0.2, **COARSE)
        assert chosen(memory, ASKING) == expected


def test_fewer_frames_than_target_frames_ask_are_all_assigned(tmp_path):
    memory = memory_at(tmp_path, references=3, choose="hungarian")
    memory.update(views([1.6]))
    # The seventh looks where the frame did.
    report = memory.retrieve(views([0.0] * 6 + [1.6, 0.8]).cameras).report[0]
    assert [pick.memory for pick in report.picks] == [0]
    assert report.stopped == "every frame is assigned"
    again = memory_at(tmp_path, references=3, choose="hungarian")
    assert again.retrieve(views([0.0] * 6 + [1.6, 0.8]).cameras).report == (report,)


@pytest.mark.parametrize("choose", ["overlap", "hungarian"])
def test_the_last_frames_are_the_preceding_clip_and_no_references(tmp_path, choose):
    memory = memory_at(tmp_path, references=2, preceding=5, choose=choose, min_overlap=0.0)
    seen = views([0.0, 0.8, *[1.6] * 5])
    memory.update(seen)
    target = views([1.6, 0.0, 0.8]).cameras
    got = memory.retrieve(target)
    (report,) = got.report
    # Frames 2 to 6 are the best for the first target frame, and given anyway.
    assert [pick.memory for pick in report.picks] == {"overlap": [1, 0]}.get(choose, [0, 1])
    assert not any(pick.forced for pick in report.picks) and report.pool == 2
    numbers = [pick.memory for pick in report.picks]
    torch.testing.assert_close(got.references.frames, seen.frames[numbers], atol=3e-3, rtol=0)
    ahead = got.preceding
    torch.testing.assert_close(ahead.frames, seen.frames[2:], atol=3e-3, rtol=0)
    poses = seen.cameras[2:].relative_to(target[0])
    assert alike(ahead.preceding2first, poses) and alike(ahead.anchors.target2source[0], poses)


def test_the_cloud_is_drawn_at_the_preceding_cameras(tmp_path):
    memory = memory_at(tmp_path, preceding=5)
    seen = walk(8)
    memory.update(seen)
    got = memory.retrieve(walk(9).cameras[5:]).preceding.anchors
    direct = render_anchor(memory.cloud, memory.bank.cameras[3:], memory.rendering)
    # To rounding, by which a point may fall into the pixel beside.
    same = (got.video[0] - direct.video).abs().amax(dim=1) < 1e-4
    assert same.float().mean() > 0.99
    assert (got.visible[0] == direct.visible).float().mean() > 0.99
    # And what these frames showed, where the cloud has points; some of its voxels are two colours.
    apart = (got.video[0] - seen.frames[3:]).abs().mean(dim=1)[got.visible[0]]
    assert got.visible.float().mean() > 0.5 and apart.median() < 0.05
    again = memory.retrieve(walk(9).cameras[5:]).in_unit(2.0).preceding
    torch.testing.assert_close(
        2 * again.preceding2first[:, :3, 3],
        memory.bank.cameras[3:].relative_to(walk(9).cameras[5])[:, :3, 3],
    )
    assert alike(again.anchors.target2source[0], again.preceding2first)


@pytest.mark.parametrize("choose", ["overlap", "hungarian"])
@pytest.mark.parametrize(
    "references, preceding, expected",
    [(0, 0, (0, 0)), (0, 1, (0, 1)), (7, 9, (1, 0)), (7, 5, (1, 0)), (1, 1, (1, 1))],
)
def test_references_and_preceding_frames_can_be_switched_off(
    tmp_path, choose, references, preceding, expected
):
    memory = memory_at(tmp_path, references=references, preceding=preceding, choose=choose)
    nothing = memory.retrieve(views([0.0]).cameras)
    assert len(nothing.references) == 0 and nothing.preceding is None
    memory.update(views([0.0, 0.1, 0.2, 0.3]))
    got = memory.retrieve(views([0.0] * 4).cameras)
    ahead = 0 if got.preceding is None else len(got.preceding.frames)
    # A clip of fewer frames than were asked for is none.
    assert (len(got.references), ahead) == expected and got.anchors.visible.any()
    assert len(memory.may_give()) == (4 if references or preceding else 0)


def test_what_overlaps_too_little_is_no_reference(tmp_path):
    memory = memory_at(tmp_path, min_overlap=0.9)
    memory.update(views(YAWS))
    got = memory.retrieve(views([0.4]).cameras)
    assert len(got.references) == 0 and got.report[0].pool == 0
    assert "more than 90%" in got.report[0].stopped


def test_an_empty_memory_has_no_references(tmp_path):
    got = memory_at(tmp_path).retrieve(walk(9).cameras)
    assert got.references.frames.shape == (0, 3, 24, 32) and len(got.anchors) == 1


def test_a_frame_that_shows_nothing_is_remembered_all_the_same(tmp_path):
    memory = memory_at(tmp_path)
    memory.update(wall(0.5, depth=0.0))
    memory.update(wall(0.5))
    got = memory.retrieve(wall(0.0).cameras)
    assert len(memory) == 2 and [pick.memory for pick in got.report[0].picks] == [1]


@pytest.mark.parametrize(
    "option, message",
    [
        ({"voxel": 0.0}, "global_cloud.voxel is a length above 0, got 0.0"),
        ({"voxel": float("nan")}, "global_cloud.voxel"),
        ({"overlap_voxel": -0.1}, "global_cloud.overlap_voxel"),
        ({"references": -1}, "global_cloud.references must be 0 or more, got -1"),
        ({"preceding": -1}, "global_cloud.preceding must be 0 or more, got -1"),
        ({"preceding": 8}, r"preceding=8 frames are no clip .*4k \+ 1; the nearest are 5 and 9"),
        ({"preceding": 2}, r"the nearest are 1 and 5 \(0 = none\)"),
        ({"min_overlap": 1.1}, r"global_cloud.min_overlap is a share in \[0, 1\], got 1.1"),
    ],
)
def test_bad_options_are_refused(option, message):
    with pytest.raises(ValueError, match=message):
        GlobalCloudConfig(**option)


def test_a_choice_that_is_none_is_refused_with_the_known_ones():
    config = GlobalCloudConfig()
    object.__setattr__(config, "choose", "best")  # past the type checks that only tests have
    with pytest.raises(ValueError, match="choose is one of overlap, hungarian, got 'best'"):
        config.__post_init__()
    with pytest.raises(ValueError, match="'best'.*overlap.*hungarian"):
        load_config(RunConfig, ["memory.global_cloud.choose=best"])
