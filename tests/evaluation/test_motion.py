"""A frozen video has neither motion, noise has much of it and agrees with nothing."""

import pytest
import torch

from anchorweave.evaluation.motion import motion_agreement, motion_energy

TRUTH = torch.rand(6, 3, 8, 10, generator=torch.Generator().manual_seed(0))


def slow_energy(video, truth):
    """Pixel by pixel."""
    sums = [0.0, 0.0]
    for which, values in enumerate((video.tolist(), truth.tolist())):
        for before, after in zip(values, values[1:], strict=False):
            for one, other in zip(before, after, strict=True):
                for row, next_row in zip(one, other, strict=True):
                    sums[which] += sum(abs(a - b) for a, b in zip(row, next_row, strict=True))
    return sums[0] / sums[1]


def test_the_truth_moves_as_much_as_itself_and_a_frozen_video_not_at_all():
    frozen = TRUTH[:1].expand_as(TRUTH)
    assert motion_energy(TRUTH, TRUTH) == 1 and motion_agreement(TRUTH, TRUTH) == pytest.approx(1)
    assert motion_energy(frozen, TRUTH) == motion_agreement(frozen, TRUTH) == 0


def test_energy_is_that_of_a_loop_over_pixels():
    video = torch.rand(TRUTH.shape, generator=torch.Generator().manual_seed(1))
    assert motion_energy(video, TRUTH) == pytest.approx(slow_energy(video, TRUTH))


def test_faint_motion_agrees_but_has_little_energy():
    faint = 0.5 + 0.25 * (TRUTH - 0.5)
    assert motion_energy(faint, TRUTH) == pytest.approx(0.25)
    assert motion_agreement(faint, TRUTH) == pytest.approx(1)
    assert motion_agreement(1 - TRUTH, TRUTH) == pytest.approx(-1)


def test_flicker_has_energy_but_does_not_agree():
    steps = torch.linspace(0, 0.3, 6)[:, None, None, None]
    truth = (steps + torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))) / 2
    noise = torch.rand(truth.shape, generator=torch.Generator().manual_seed(3))
    assert motion_energy(noise, truth) > 5
    assert abs(motion_agreement(noise, truth)) < 0.1


def test_where_the_truth_stands_still_there_is_no_number():
    still = TRUTH[:1].expand_as(TRUTH)
    assert motion_energy(TRUTH, still) is None and motion_agreement(TRUTH, still) is None
    assert motion_energy(TRUTH[:1], TRUTH[:1]) is None
    assert motion_agreement(TRUTH[:1], TRUTH[:1]) is None
