"""What sampling starts from where it does not start from noise."""

import pytest
import torch

from anchorweave.anchors import Anchors, composite, empty_anchors
from anchorweave.holes import fill_holes
from anchorweave.models.small.tiny import tiny_components
from anchorweave.pipelines.anchored_start import last_steps, start_video

T, H, W = 9, 16, 24


def anchors(seed=0):
    make = torch.Generator().manual_seed(seed)
    visible = torch.rand(2, T, H, W, generator=make) > 0.5
    video = torch.rand(2, T, 3, H, W, generator=make) * visible[:, :, None]
    return Anchors(video, visible, torch.eye(4).repeat(2, T, 1, 1))


@pytest.fixture
def scheduler():
    return tiny_components()["scheduler"]


def test_it_is_the_first_frame_then_the_composite_without_holes():
    known, first = anchors(), torch.rand(3, H, W)
    video = start_video(known, first)
    assert torch.equal(video[0], first)
    assert torch.equal(video[1:], fill_holes(*composite(known), "filled")[1:])


def test_frames_that_nothing_is_seen_of_repeat_the_nearest_in_time():
    known, first = anchors(), torch.rand(3, H, W)
    whole = start_video(known, first)
    known.visible[:, [1, 2, 4, 7, 8]] = False
    known.video.mul_(known.visible[:, :, None])
    # Frame 4 lies between 3 and 5: the earlier one.
    assert torch.equal(start_video(known, first), whole[[0, 0, 3, 3, 3, 5, 6, 6, 6]])


@pytest.mark.parametrize("slots", [0, 2])
def test_without_a_seen_pixel_it_is_the_first_frame_repeated(slots):
    first = torch.rand(3, H, W)
    video = start_video(empty_anchors(slots, (T, 3, H, W)), first)
    assert torch.equal(video, first.expand(T, -1, -1, -1))


def test_the_anchors_are_left_alone():
    known = anchors()
    known.visible[:] = True
    before = known.video.clone()
    start_video(known, torch.rand(3, H, W))
    assert torch.equal(known.video, before)


@pytest.mark.parametrize(
    "share, steps, run", [(1.0, 10, 10), (0.3, 10, 3), (0.25, 10, 2), (0.01, 10, 1), (0.5, 1, 1)]
)
def test_the_last_steps_are_set_while_it_is_entered(scheduler, share, steps, run):
    scheduler.set_timesteps(steps)
    whole = scheduler.timesteps
    with last_steps(scheduler, share):
        scheduler.set_timesteps(steps, device="cpu")
        assert torch.equal(scheduler.timesteps, whole[steps - run :])
        # What a step's width follows from.
        assert scheduler.num_inference_steps == steps
    scheduler.set_timesteps(steps)
    assert torch.equal(scheduler.timesteps, whole)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1])
def test_a_share_out_of_range_is_refused(scheduler, share):
    with pytest.raises(ValueError, match=rf"start_share={share} must be a fraction"):
        with last_steps(scheduler, share):
            pass
