import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from anchorweave.clip import Clip
from anchorweave.evaluation.contradiction import check_memories, contradiction
from anchorweave.recordings import open_recording

SHARED = Path(__file__).parents[3] / "shared" / "data"
ROOM = "procedural:seed={seed},frames=72,size=48x72"
ROOMS = {
    "exact": ROOM.format(seed=3),
    "another": ROOM.format(seed=11),
    "with errors": ROOM.format(seed=5) + ",errors=1",
    "example": "data/example_dataset",
}


def memories(source, count=14, size=(48, 72)):
    recording = open_recording(source)
    at = np.unique(np.linspace(0, len(recording) - 1, count).round().astype(int))
    return recording.clip(at.tolist(), size)


@pytest.fixture(scope="module")
def rooms():
    return {name: memories(source) for name, source in ROOMS.items()}


def with_depth(clip, factor):
    return replace(clip, depth=factor * clip.depth)


def with_K(clip, factor):
    scale = torch.tensor([factor, factor, 1.0])[:, None]
    return replace(clip, cameras=replace(clip.cameras, K=scale * clip.cameras.K))


def with_c2w(clip, c2w):
    return replace(clip, cameras=replace(clip.cameras, c2w=c2w))


@pytest.mark.parametrize("name", ROOMS)
def test_right_memories_agree(rooms, name):
    assert contradiction(rooms[name]) is None


@pytest.mark.skipif(not (SHARED / "kitchen").is_dir(), reason="the real recordings are not at hand")
def test_the_real_kitchen_agrees_and_its_faults_are_told():
    clip = memories(SHARED / "kitchen")
    assert contradiction(clip) is None
    assert "depth" in contradiction(with_depth(clip, 1000))
    assert "world-to-camera" in contradiction(with_c2w(clip, clip.cameras.w2c))


@pytest.mark.parametrize(("name", "factor"), [("with errors", 1000.0), ("example", 0.2)])
def test_depth_in_another_unit_is_told(rooms, name, factor):
    found = contradiction(with_depth(rooms[name], factor))
    assert "contradict" in found and "with depth" in found and "another unit" in found


def test_the_factor_is_told(rooms):
    assert "depth times 5 " in contradiction(with_depth(rooms["exact"], 0.2))
    assert "depth divided by 1000 " in contradiction(with_depth(rooms["exact"], 1000.0))


@pytest.mark.parametrize(
    ("name", "factor", "words"),
    [("with errors", 0.5, "times 2"), ("example", 2.0, "divided by 2")],
)
def test_K_of_another_size_is_told(rooms, name, factor, words):
    assert f"K {words}" in contradiction(with_K(rooms[name], factor))


@pytest.mark.parametrize("name", ["another", "with errors"])
def test_inverted_poses_are_told(rooms, name):
    clip = rooms[name]
    found = contradiction(with_c2w(clip, clip.cameras.w2c))
    assert "world-to-camera instead of camera-to-world" in found


@pytest.mark.parametrize("name", ["another", "with errors"])
def test_other_axes_are_told(rooms, name):
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    clip = rooms[name]
    assert "other axes" in contradiction(with_c2w(clip, clip.cameras.c2w @ flip))


def test_poses_of_other_frames_have_no_known_cause(rooms):
    clip = rooms["exact"]
    mixed = with_c2w(
        clip,
        clip.cameras.c2w[torch.randperm(len(clip), generator=torch.Generator().manual_seed(0))],
    )
    assert "check the unit" in contradiction(mixed)


def test_frames_that_see_nothing_in_common_do_not_contradict(rooms):
    clip = rooms["exact"]
    apart = clip.cameras.c2w.clone()
    apart[:, 0, 3] += 100.0 * torch.arange(len(clip))
    assert contradiction(with_c2w(clip, apart)) is None


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_memories(rooms, count):
    assert contradiction(rooms["exact"][:count]) is None


def test_large_frames_are_looked_at_in_small(rooms):
    clip = rooms["exact"]
    big = Clip(
        clip.frames.repeat_interleave(3, -1).repeat_interleave(3, -2),
        clip.depth.repeat_interleave(3, -1).repeat_interleave(3, -2),
        clip.cameras.resized((144, 216)),
        clip.names,
    )
    assert contradiction(big) is None
    assert "depth times 5 " in contradiction(with_depth(big, 0.2))


def test_warned_refused_or_passed(rooms):
    wrong = with_depth(rooms["exact"], 1000.0)
    with pytest.warns(UserWarning, match="my room: memories contradict.*depth divided by 1000"):
        check_memories(wrong, "warn", "my room")
    with pytest.raises(ValueError, match="my room: memories contradict"):
        check_memories(wrong, "error", "my room")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_memories(wrong, "off", "my room")
        check_memories(rooms["exact"], "warn", "my room")
