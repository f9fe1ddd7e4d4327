import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from anchorweave.memory import Bank
from anchorweave.recordings import open_recording
from anchorweave.recordings.nerfstudio import write_recording
from inference.compare_geometry import main
from inference.geometry.bytes_kept import BytesKept
from inference.geometry.config import CompareConfig, drawn_radius, rows_of
from inference.geometry.rows import (
    Shown,
    chosen_frames,
    measure,
    seen_share,
    show,
    still_pixels,
)
from tests.rooms import look, view_room

KITCHEN = Path(__file__).parents[3] / "shared" / "data" / "kitchen"
ROWS = [
    "local_clouds K=1", "local_clouds K=2", "local_clouds K=4", "global_cloud 0.02",
    "global_cloud 0.1", "map_and_keyframes 0.05", "posed_frames",
]  # fmt: skip
# Voxels about as large as what a pixel of 48x64 shows of the room.
OPTIONS = [
    "height=48", "memory.global_cloud.voxel=0.02", "voxels=[0.1]", "gaps=[1,4]",
    "memory.map_and_keyframes.voxel=0.05", "memory.map_and_keyframes.splat_radius=0",
]  # fmt: skip


def room(count=24, detail=4.0):
    """A walk past the far wall, which looks to the left at first and to the right at last."""
    positions = torch.tensor([[0.05 * i - 0.7, 0.0, -1.0] for i in range(count)])
    cameras = look(positions, torch.linspace(-0.3, 0.3, count), size=(48, 64), focal=60.0)
    return view_room(cameras, detail)


def posed(clip, shift):
    """The clip with poses that are said to lie elsewhere, by `shift` [T, 3]."""
    c2w = clip.cameras.c2w.clone()
    c2w[:, :3, 3] += shift
    return replace(clip, cameras=replace(clip.cameras, c2w=c2w))


def measured(tmp_path, clip, *words):
    source, output = tmp_path / "a room", tmp_path / "out"
    write_recording(clip, source)
    main([f"source={source}", f"output={output}", *OPTIONS, *words])
    return json.loads((output / "geometry.json").read_text())


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exact")
    return folder / "out", measured(folder, room())


def test_a_row_for_every_system_and_setting(exact):
    found = exact[1]
    assert list(found["systems"]) == ROWS
    assert found["history_frames"] == 16 and found["target_frames"] == 8
    voxels = [row.get("voxel") for row in found["systems"].values()]
    assert voxels == [None] * 3 + [0.02, 0.1, 0.05, None]


def test_exact_depth_is_shown_true_and_agrees_with_itself(exact):
    for name in ROWS[:3]:
        row = exact[1]["systems"][name]
        assert row["psnr_visible"] > 26 and row["ssim_visible"] > 0.95
        for gap in ("1", "4"):
            found = row["cross_view"][gap]
            # Depth is stored in steps of a millimetre or less.
            assert found["motion"] < 0.02 and found["share"] > 0.2
            assert found["colour"] < found["truth"] + 2


def test_more_memories_cover_more_and_fewer_than_all_frames_saw(exact):
    found = exact[1]
    local = [found["systems"][name] for name in ROWS[:3]]
    covers, saw = ([row[key] for row in local] for key in ("coverage", "seen_by_chosen"))
    assert covers == sorted(covers) and saw == sorted(saw)
    assert saw[-1] <= found["seen_by_any"] < 1
    # What they saw is what they show, but for holes and edges.
    assert covers[-1] == pytest.approx(saw[-1], abs=0.1)


def test_on_the_pixels_that_all_show_rows_are_paired(exact):
    found = exact[1]
    drawn = [found["systems"][name] for name in ROWS[:-1]]
    assert 0 < found["all_show"] <= min(row["coverage"] for row in drawn)
    # Slot 0 shows the same whatever K is.
    assert len({row["psnr_where_all"] for row in drawn[:3]}) == 1
    assert len({row["cross_view"]["1"]["truth"] for row in drawn}) == 1
    assert len({row["cross_view"]["1"]["share"] for row in drawn}) == 1


def test_holes_cost_where_they_are_filled(exact):
    for row in list(exact[1]["systems"].values())[:-1]:
        assert row["psnr_filled"] < row["psnr_visible"]
        assert len(row["psnr_by_frame"]) == len(row["coverage_by_frame"]) == 8
        mean = sum(row["coverage_by_frame"]) / 8
        assert row["coverage"] == pytest.approx(mean, abs=1e-6)


def test_plain_frames_have_no_pixels_but_saw_the_target(exact):
    row = exact[1]["systems"]["posed_frames"]
    for name in ("coverage", "psnr_visible", "ssim_visible", "psnr_filled", "psnr_where_all"):
        assert row[name] is None
    assert row["cross_view"] == {"1": None, "4": None}
    assert 0.5 < row["seen_by_chosen"] <= exact[1]["seen_by_any"]
    others = exact[1]["systems"]["local_clouds K=1"]
    assert row["disk_bytes"] < others["disk_bytes"] and row["fused_points"] is None


def test_cost_is_told_of_all(exact):
    for row in exact[1]["systems"].values():
        assert row["disk_bytes"] > 0 and row["memory_bytes"] > 0
        assert row["update_seconds_per_frame"] >= exact[1]["store_seconds_per_frame"] > 0
        assert row["retrieve_seconds"] > 0
    fine, coarse = (exact[1]["systems"][name] for name in ROWS[3:5])
    assert fine["fused_points"] > coarse["fused_points"] > 100
    assert fine["memory_bytes"] > coarse["memory_bytes"]


def test_results_lie_in_files_and_tell_no_paths(exact):
    output, found = exact
    text = (output / "geometry.json").read_text()
    assert str(output.parent) not in text and found["recording"] == "a room"
    lines = list(csv.DictReader((output / "geometry.csv").open()))
    assert [line["name"] for line in lines] == ROWS
    row = found["systems"]["global_cloud 0.1"]
    assert float(lines[4]["psnr_visible"]) == row["psnr_visible"]
    assert float(lines[4]["colour_4_apart"]) == row["cross_view"]["4"]["colour"]
    assert lines[-1]["coverage"] == "" and str(output.parent) not in str(lines)
    for name in ("shown.png", "coverage_against_psnr.png", "psnr_by_frame.png"):
        assert min(Image.open(output / name).size) > 100


def test_the_tables_are_printed_with_what_a_reader_has_to_know(tmp_path, capsys):
    measured(tmp_path, room(), "systems=[local_clouds,posed_frames]", "anchors=[1]")
    printed = capsys.readouterr().out
    for words in ("local_clouds K=1", "posed_frames", "covers", "to give (MB)"):
        assert words in printed
    assert "posed_frames has no geometry and renders nothing" in printed
    assert "rows of local memories are identical" not in printed


def test_wrong_poses_disagree_with_the_true_surfaces(tmp_path, exact):
    """Every frame of the history is said to stand 10 cm before its place: so does what it saw."""
    shift = torch.zeros(24, 3)
    shift[:16, 2] = 0.1
    found = measured(tmp_path, posed(room(), shift))["systems"]
    for name in ROWS[:-1]:
        row, true = found[name], exact[1]["systems"][name]
        assert row["psnr_where_all"] < true["psnr_where_all"] - 1, name
        for gap in ("1", "4"):
            assert row["cross_view"][gap]["motion"] > true["cross_view"][gap]["motion"] + 0.01
        assert row["cross_view"]["4"]["motion"] > row["cross_view"]["1"]["motion"] > 0


def test_drifting_poses_hurt_the_fused_cloud_more(tmp_path):
    """The paper's claim on a room in closed form: poses drift, as those of a real tracker do."""
    shift = torch.zeros(24, 3)
    shift[:, 1] = torch.linspace(0, 0.5, 24)
    options = ["systems=[local_clouds,global_cloud]", "voxels=[]"]
    found = measured(tmp_path, posed(room(), shift), *options)
    difference = found["local_db_where_both"] - found["fused_db_where_both"]
    assert found["local_minus_fused_db"] == pytest.approx(difference)
    assert difference > 1


def test_a_recording_without_depth_can_be_estimated_and_is_not_compared_with_itself(tmp_path):
    blind = replace(room(12), depth=torch.zeros(12, 48, 64))
    words = ["perception=plane_sweep", "systems=[local_clouds]", "anchors=[4]"]
    found = measured(tmp_path, blind, *words)
    row = found["systems"]["local_clouds K=4"]
    assert row["coverage"] > 0.1 and row["psnr_visible"] > 10
    assert row["seen_by_chosen"] is None and found["seen_by_any"] is None
    assert row["cross_view"]["1"]["colour"] is None


def test_frames_alone_have_nothing_to_plot(tmp_path):
    found = measured(tmp_path, room(12), "systems=[posed_frames]")
    assert found["all_show"] == 0 and found["local_minus_fused_db"] is None
    assert (tmp_path / "out" / "shown.png").is_file()
    assert not (tmp_path / "out" / "psnr_by_frame.png").exists()


def test_frames_that_stood_there_saw_all_and_others_none(tmp_path):
    seen = view_room(look([[0.0, 0.0, -1.0]] * 2, [0.0, 3.1]))
    bank = Bank(tmp_path)
    bank.append(seen)
    target = seen[:1]
    assert seen_share([(0,)], bank, target) == 1
    assert seen_share([(1,)], bank, target) == 0 == seen_share([()], bank, target)
    assert seen_share([(1, 0)], bank, target) == 1
    half = target.depth.clone()
    half[:, :, :16] = 0
    # Depth that is not known at the target is not asked for.
    assert seen_share([(0,)], bank, replace(target, depth=half)) == 1
    assert seen_share([(0,)], bank, replace(target, depth=0 * half)) is None


def test_moving_things_are_not_compared(tmp_path):
    """What stands still is shown exactly; a thing that moves is shown where it was."""
    target = room(4)
    static = torch.ones_like(target.depth, dtype=torch.bool)
    static[:, :, 16:32] = False
    marked = replace(target, static=static)
    video, visible = target.frames.clone(), torch.ones_like(static)
    video[:, :, :, 16:32] = 0.5
    visible[:, :, 24:] = False
    shown = Shown(video, visible, target.depth, (), BytesKept(0, 0, 0), None, 0.0, 0.0)
    found, with_thing = (
        measure(shown, one, still_pixels(one) & visible, torch.zeros(3), (1,))
        for one in (marked, target)
    )
    # Columns 0-15 of the 48 that stand still.
    assert found["coverage"] == pytest.approx(1 / 3) and with_thing["coverage"] == 3 / 8
    assert found["coverage_by_frame"] == pytest.approx([1 / 3] * 4)
    assert found["psnr_visible"] == 100 > 30 > with_thing["psnr_visible"]
    assert found["psnr_by_frame"] == [100] * 4
    assert 0 < found["cross_view"]["1"]["share"] < with_thing["cross_view"]["1"]["share"]
    # Nor is it asked whether a frame saw it.
    bank = Bank(tmp_path)
    bank.append(replace(target, depth=torch.where(static, target.depth, 0.0)))
    assert seen_share([(t,) for t in range(4)], bank, marked) == 1
    assert seen_share([(t,) for t in range(4)], bank, target) < 0.95


def test_points_are_as_wide_as_what_stands_still_is_far():
    clip = room(2)
    far = replace(clip, depth=torch.where(torch.arange(64) < 40, 100.0, clip.depth))
    static = (torch.arange(64) >= 40).expand_as(clip.depth)
    voxel = 7 * clip.depth.median().item() / 60.0
    assert drawn_radius(voxel, far) == 0
    assert drawn_radius(voxel, replace(far, static=static)) >= 2


def test_a_history_that_contradicts_itself_is_met(tmp_path):
    """Depth in another unit than the poses."""
    right = open_recording("procedural:seed=3,frames=24,size=48x80").clip(range(24))
    wrong = replace(right, depth=5 * right.depth)
    words = ["systems=[posed_frames]", "gaps=[1]"]
    with pytest.raises(ValueError, match="a room: memories contradict each other"):
        measured(tmp_path, wrong, *words, "check=error")
    assert not (tmp_path / "out").exists()
    (tmp_path / "warned").mkdir()
    with pytest.warns(UserWarning, match="a room: memories contradict each other"):
        measured(tmp_path / "warned", wrong, *words)


def test_frames_are_chosen_chunk_by_chunk(tmp_path):
    clip = room(6)
    Bank(tmp_path).append(clip)
    config = CompareConfig(systems=("local_clouds",), anchors=(2,))
    row = rows_of(config, clip)["local_clouds K=2"]
    target = room(24).cameras
    shown = show(row, Bank(tmp_path), target)
    chosen = chosen_frames(shown.report, 24)
    assert [chosen[t] for t in (0, 9, 17)] == [
        tuple(pick.memory for pick in chunk.picks) for chunk in shown.report
    ]
    # The depth told is that of the pixels shown.
    assert torch.equal(shown.depth > 0, shown.visible)


def test_points_are_drawn_as_wide_as_their_voxels():
    clip = room(2)
    pixel = clip.depth.median().item() / 60.0
    assert [drawn_radius(pixel * width, clip) for width in (0.1, 1.0, 3.0, 7.0)] == [0, 0, 1, 3]
    config = CompareConfig(systems=("global_cloud",), voxels=(7 * pixel,))
    filled, plain = (
        [row.rendering.splat_radius for row in rows_of(one, clip).values()]
        for one in (config, replace(config, voxels_fill=False))
    )
    assert filled == [0, 3] and plain == [0, 0]


@pytest.mark.parametrize(
    "word, message",
    [
        ("systems=[local_clouds,clouds]", "systems=clouds: known are local_clouds, global_cloud"),
        ("systems=[]", "systems=none: known are"),
        ("voxels=[0]", r"voxels=\[0.0\]: give lengths above 0"),
        ("memory.global_cloud.voxel=0", "memory.global_cloud.voxel is a length above 0"),
        ("anchors=[0]", r"anchors=\[0\]: give numbers of memories"),
        ("gaps=[0]", r"gaps=\[0\]: give distances in frames"),
        ("height=8", "height=8 pixels is too small"),
        ("colour_focal=2", "colour_focal=2.0 must be in"),
        (
            "memory.path=somewhere",
            "memory.path=somewhere: the history is always remembered from scratch",
        ),
    ],
)
def test_bad_options_are_refused(tmp_path, word, message):
    with pytest.raises(ValueError, match=message):
        main([f"output={tmp_path / 'out'}", word])
    assert not (tmp_path / "out").exists()


def test_a_recording_without_depth_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no depth.*perception=plane_sweep"):
        measured(tmp_path, replace(room(12), depth=torch.zeros(12, 48, 64)))


def test_too_few_frames_are_refused(tmp_path):
    with pytest.raises(ValueError, match="3 frames give 2 of history and 1 of target"):
        measured(tmp_path, room(3))


def test_colours_of_another_camera(tmp_path, exact):
    options = ["systems=[local_clouds]", "anchors=[1]", "colour_focal=0.8"]
    found = measured(tmp_path, room(), *options)["systems"]["local_clouds K=1"]
    # These colours were right: a false focal length must cost.
    assert found["psnr_visible"] < exact[1]["systems"]["local_clouds K=1"]["psnr_visible"] - 1


@pytest.mark.skipif(not KITCHEN.is_dir(), reason=f"the recording {KITCHEN} is not there")
def test_on_a_real_recording_one_local_memory_beats_the_fused_cloud(tmp_path):
    words = ["systems=[local_clouds,global_cloud]", "anchors=[1]", "voxels=[]", "height=120"]
    main([f"source={KITCHEN}", f"output={tmp_path}", *words])
    found = json.loads((tmp_path / "geometry.json").read_text())
    assert found["local_minus_fused_db"] > 2
