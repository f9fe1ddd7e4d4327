from dataclasses import replace

import pytest
import torch

from anchorweave.anchors import composite
from anchorweave.memory import Bank, LocalClouds
from anchorweave.retrieval import RetrievalConfig
from anchorweave.world import World, scene_unit
from tests.alike import alike_pictures
from tests.rooms import look, view_room

PATH = look([[0.05 * i, 0.0, -1.0] for i in range(9)], [0.03 * i for i in range(9)])


def true_depth(clip, known_depth):
    """Perception that knows the room; it fills what memory does not see."""
    truth = view_room(clip.cameras).depth
    return replace(clip, depth=torch.where(known_depth > 0, known_depth, truth))


class Painter:
    """Stands in for the networks: shows the anchors, and the first frame where they see nothing."""

    def __init__(self):
        self.calls = []

    def __call__(self, first, retrieved, seed):
        video, seen = composite(retrieved.anchors)
        self.calls.append((first.clone(), retrieved, seed))
        return torch.where(seen[:, None], video, first[None])


def world_at(path, generate=None):
    memory = LocalClouds(Bank(path), retrieval=RetrievalConfig(downscale=1))
    if not len(memory):
        memory.update(view_room(PATH[:1]))
    return World(memory, true_depth, generate or Painter(), unit=2.0)


def run(world, start=0, recall=True):
    bank = world.memory.bank

    def newest():
        return bank.frame(len(bank) - 1)

    return list(world.rollout(newest(), PATH, 5, 7, start, newest if recall else None))


def test_segments_share_a_frame_and_memory_grows_by_the_new_ones(tmp_path):
    world = world_at(tmp_path)
    segments = run(world)
    assert [s.number for s in segments] == [0, 1]
    assert [len(s.clip) for s in segments] == [4, 4] and len(world.memory) == 9
    torch.testing.assert_close(world.memory.bank.cameras.c2w, PATH.c2w)
    first, retrieved, seed = world.generate.calls[1]
    # The second segment starts from what memory kept of the first one's last frame.
    assert torch.equal(first, world.memory.bank.frame(4)) and seed == 8
    assert retrieved.report[0].picks[0].memory == 4 and retrieved.report[0].picks[0].forced


def test_what_is_generated_agrees_with_the_room(tmp_path):
    """A painter that only shows its memory keeps the world consistent along the path."""
    world = world_at(tmp_path)
    run(world)
    frames = torch.stack([world.memory.bank.frame(i) for i in range(9)])
    truth = view_room(PATH).frames
    assert (frames - truth).abs().median() < 0.05


def test_poses_reach_the_networks_in_scene_units(tmp_path):
    world = world_at(tmp_path)
    run(world)
    _, retrieved, _ = world.generate.calls[0]
    moved = retrieved.target2first[-1, :3, 3].norm()
    assert moved.item() == pytest.approx((PATH.centres[4] - PATH.centres[0]).norm().item() / 2)


def test_a_rollout_resumes_where_it_stopped(tmp_path):
    whole = world_at(tmp_path / "whole")
    run(whole)
    cut = world_at(tmp_path / "cut")
    bank = cut.memory.bank
    rollout = cut.rollout(bank.frame(0), PATH, 5, 7, 0, lambda: bank.frame(len(bank) - 1))
    next(rollout)
    with pytest.raises(KeyboardInterrupt):
        rollout.throw(KeyboardInterrupt)
    assert len(Bank(tmp_path / "cut")) == 1  # the first segment was not remembered yet
    resumed = world_at(tmp_path / "cut")
    run(resumed)
    for i in range(9):
        assert alike_pictures(whole.memory.bank.frame(i), resumed.memory.bank.frame(i))
        assert alike_pictures(whole.memory.bank.depth(i), resumed.memory.bank.depth(i))


def test_without_recall_the_video_itself_is_continued(tmp_path):
    painter = Painter()
    segments = run(world_at(tmp_path, painter), recall=False)
    assert torch.equal(painter.calls[1][0], segments[0].clip.frames[-1])


def test_a_trajectory_of_no_whole_segments_is_refused(tmp_path):
    world = world_at(tmp_path)
    with pytest.raises(ValueError, match=r"8 cameras is not a whole number .* k \* 4 \+ 1"):
        next(world.rollout(torch.zeros(3, 24, 32), PATH[:8], 5, 0))


def test_scene_unit_is_the_median_of_valid_depth():
    assert scene_unit(torch.tensor([[0.0, 1.0], [3.0, 9.0]])) == 3.0
    with pytest.raises(ValueError, match="no valid depth"):
        scene_unit(torch.zeros(2, 2))
