"""A thing that moves through a room leaves ghosts in memory, unless it is found and kept out."""

from dataclasses import replace

import pytest
import torch

from anchorweave.geometry.projection import unproject
from anchorweave.memory import Bank, MemoryConfig, open_memory
from anchorweave.perception import PerceptionConfig, make_perception
from anchorweave.perception.moving import GeometryConfig, standing_still
from anchorweave.rendering.anchor_video import RenderConfig
from anchorweave.retrieval import RetrievalConfig
from tests.rooms import look, view_room

SIZE, FRAMES, RADIUS = (48, 64), 10, 0.35


def with_ball(cameras, centres):
    """The room with a white ball, somewhere else in each frame, and where it is seen."""
    room = view_room(cameras)
    T, (H, W) = len(cameras), cameras.size
    rays = unproject(torch.ones(T, H, W), cameras) - cameras.centres[:, None, None]
    away = (cameras.centres - centres)[:, None, None]
    a, b = rays.square().sum(-1), (rays * away).sum(-1)
    root = b.square() - a * (away.square().sum(-1) - RADIUS**2)
    depth = (-b - root.clamp(min=0).sqrt()) / a
    ball = (root > 0) & (depth > 0) & (depth < room.depth)
    frames = torch.where(ball[:, None], 1.0, 0.6 * room.frames)
    return replace(room, frames=frames, depth=torch.where(ball, depth, room.depth)), ball


def filmed(moves=True):
    steps = torch.linspace(-1, 1, FRAMES)
    cameras = look(
        torch.stack([0.3 * steps, 0 * steps, -1.5 + 0 * steps], dim=-1), 0 * steps, SIZE, 48.0
    )
    across = 1.0 * steps if moves else 0 * steps
    return with_ball(cameras, torch.stack([across, 0.3 + 0 * steps, 1.0 + 0 * steps], dim=-1))


def perceived(clip, *, moving):
    return make_perception("recorded", PerceptionConfig(moving=moving))(clip)


def test_what_moves_is_found_and_nothing_else():
    clip, ball = filmed()
    static = standing_still(clip, GeometryConfig(grow=0))
    missed, wrong = (static & ball).sum() / ball.sum(), (~static & ~ball).sum() / (~ball).sum()
    # Its border is seen against the wall of other views only in part.
    assert missed < 0.1 and wrong < 0.01


def test_a_thing_that_stands_still_is_kept():
    clip, ball = filmed(moves=False)
    assert ball.any() and (~standing_still(clip, GeometryConfig())).float().mean() < 0.01


def test_what_a_mask_says_stays(capsys):
    clip, _ = filmed(moves=False)
    masked = torch.ones_like(clip.depth, dtype=torch.bool)
    masked[:, :4] = False
    found = perceived(replace(clip, static=masked), moving="geometry")
    assert not found.static[:, :4].any() and found.static[:, 4:].float().mean() > 0.99


@pytest.mark.parametrize("kind", ["local_clouds", "global_cloud"])
def test_ghosts_without_it_and_none_with_it(tmp_path, kind):
    clip, _ = filmed()
    # Seen from where no frame was taken; the ball has gone.
    target = look([[0.1, 0.05, -1.4]] * 2, [0.05, 0.05], SIZE, 48.0)
    truth = 0.6 * view_room(target).frames

    def ghosts(moving):
        config = MemoryConfig(kind=kind)
        bank = Bank(tmp_path / moving)
        memory = open_memory(bank, config, RetrievalConfig(downscale=1), RenderConfig())
        memory.update(perceived(clip, moving=moving))
        anchors = memory.retrieve(target).anchors
        wrong = (anchors.video - truth).amax(dim=2) > 0.25
        return int((wrong & anchors.visible).sum()), int(anchors.visible.any(0).sum())

    without, seen_without = ghosts("none")
    with_it, seen = ghosts("geometry")
    assert without > 100 and with_it <= 0.02 * without
    # And what is behind the ball is still shown, by views that saw it.
    assert seen > 0.95 * seen_without


def test_options_that_cannot_be():
    with pytest.raises(ValueError, match="votes be at least 1"):
        GeometryConfig(votes=0)
