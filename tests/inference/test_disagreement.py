import json
from dataclasses import replace

import pytest
import torch

from anchorweave.evaluation.contradiction import TITLES
from anchorweave.recordings import open_recording, write_recording
from inference.disagreement import DisagreementConfig, main
from tests.rooms import look, view_room, walk

WORDS = ["size=[24,32]", "gaps=[1,4,50]", "pairs=2"]


@pytest.fixture
def room(tmp_path):
    write_recording(walk(20), tmp_path / "room")
    return str(tmp_path / "room")


def measured(tmp_path, *words):
    main([*WORDS, f"output={tmp_path / 'deep' / 'found.json'}", *words])
    return json.loads((tmp_path / "deep" / "found.json").read_text())


def test_errors_are_seen_and_told_apart(tmp_path, room):
    exact = walk(20)
    scale = torch.tensor([1.0, 1.02]).repeat(10)
    wrong = str(tmp_path / "wrong")
    write_recording(replace(exact, depth=scale[:, None, None] * exact.depth), wrong)
    found = measured(tmp_path, f"source=[{room},{wrong}]")
    first, second = found["sources"][room], found["sources"][wrong]
    assert first["overall"]["depth_median"] < 0.002
    assert second["by_gap"]["1"]["depth_median"] == pytest.approx(0.02, rel=0.2)
    # Frames 4 apart are equally wrong.
    assert second["by_gap"]["4"]["depth_median"] < 0.5 * second["by_gap"]["1"]["depth_median"]
    # No two frames are 50 apart.
    assert list(first["by_gap"]) == ["1", "4"]
    assert first["by_gap"]["1"]["pairs"] == 2 and first["overall"]["pairs"] == 4
    assert found["command"].startswith("python -m inference.disagreement 'size=[24,32]'")
    assert found["settings"]["pairs"] == 2


def test_a_range_of_seeds_counts_together(tmp_path):
    source = "procedural:seed=5..6,frames=3,size=24x36,errors=3"
    found = measured(tmp_path, f'source="{source}"', "gaps=[1]")
    assert found["sources"][source]["overall"]["pairs"] == 4
    assert found["sources"][source]["overall"]["depth_median"] > 0.004


def test_colours_of_another_camera(tmp_path, room):
    found = measured(tmp_path, f"source={room}", "gaps=[4]")["sources"][room]
    zoomed = measured(tmp_path, f"source={room}", "gaps=[4]", "colour_focal=0.8")["sources"][room]
    # These colours were right: a false focal length must cost.
    assert zoomed["overall"]["psnr"] < found["overall"]["psnr"] - 1
    assert zoomed["overall"]["depth_median"] == found["overall"]["depth_median"]


def test_frames_that_share_nothing(tmp_path, room):
    with pytest.raises(ValueError, match=r"no two frames at distances \[50\] share 20%"):
        measured(tmp_path, f"source={room}", "gaps=[50]")


def test_a_recording_without_depth(tmp_path):
    clip = walk(3)
    write_recording(replace(clip, depth=torch.zeros_like(clip.depth)), tmp_path / "bare")
    with pytest.raises(ValueError, match="needs both frames and depth"):
        measured(tmp_path, f"source={tmp_path / 'bare'}")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("source", []),
        ("gaps", ()),
        ("gaps", (0,)),
        ("pairs", 0),
        ("least_share", 0.0),
        ("colour_focal", 1.2),
    ],
)
def test_settings_that_are_none(name, value):
    with pytest.raises(ValueError, match=name):
        DisagreementConfig(**{name: value})


# A small exact room, whose frames see much of each other.
ROOM = "procedural:seed=11,frames=20,size=48x72"
SIZE = "size=[48,72]"


@pytest.fixture(scope="module")
def exact():
    return open_recording(ROOM).clip(range(20))


def with_poses(clip, c2w):
    return replace(clip, cameras=replace(clip.cameras, c2w=c2w))


FLIP = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
FAULTS = {
    "fine": (lambda clip: clip, []),
    "unit": (lambda clip: clip, ["recording.depth_scale=5000"]),
    "intrinsics": (lambda clip: clip, ["recording.intrinsics=[27,27,36,24]"]),
    "poses": (lambda clip: with_poses(clip, clip.cameras.w2c), []),
    "axes": (lambda clip: with_poses(clip, clip.cameras.c2w @ FLIP), []),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_the_verdict_names_the_fault(tmp_path, exact, capsys, kind):
    """As it was written by hand, or as it is read: the recording itself says nothing of it."""
    make, words = FAULTS[kind]
    write_recording(make(exact), tmp_path / "room", depth_unit=1e-3)
    words = [SIZE, "gaps=[1,4]", *words]
    found = measured(tmp_path, *words, f"source={tmp_path / 'room'}")["sources"]
    told = found[str(tmp_path / "room")]["verdict"]
    assert told["kind"] == kind and told["line"].startswith(TITLES[kind])
    assert f"verdict: {TITLES[kind]}" in capsys.readouterr().out
    if kind == "unit":
        assert "depth times 5 " in told["words"]


def test_a_camera_that_only_turns_says_nothing_of_the_unit(tmp_path):
    yaws = torch.linspace(-0.4, 0.4, 9)
    write_recording(view_room(look([[0.0, 0.0, -1.0]] * 9, yaws)), tmp_path / "room")
    found = measured(tmp_path, f"source={tmp_path / 'room'}", "gaps=[1]")["sources"]
    told = found[str(tmp_path / "room")]["verdict"]
    assert told["kind"] == "fine" and "the unit of depth cannot be checked" in told["words"]
