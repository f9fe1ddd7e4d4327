from dataclasses import replace

import pytest
import torch

from anchorweave.evaluation.disagreement import common_view
from tests.rooms import look, view_room

SIZE = (48, 72)


def view(position=(0.0, 0.0, -1.0), yaw=0.0):
    return view_room(look([position], [yaw], SIZE, focal=54.0), detail=3.0)


def moved(one, by):
    c2w = one.cameras.c2w.clone()
    c2w[0, :3, 3] += torch.tensor(by)
    return replace(one, cameras=replace(one.cameras, c2w=c2w))


A, B = view(), view((0.3, 0.1, -0.8), 0.15)


def test_exact_views_agree():
    found = common_view(A, B)
    # Where two walls meet, depth between the pixels is no plane's.
    assert found.difference.median() < 1e-5 and found.difference.quantile(0.9) < 5e-3
    assert found.shift < 0.05 and found.psnr > 35
    assert 0.5 < found.share <= 1


def test_a_factor_on_depth_is_found():
    found = common_view(replace(A, depth=1.03 * A.depth), A)
    assert found.difference.median().item() == pytest.approx(0.03, rel=0.02)


def test_a_turn_is_found_in_pixels():
    turned = view(yaw=0.02)
    as_if_straight = replace(turned, cameras=A.cameras)
    # Of 54 pixels times the tangent of the turn, seen at the image's middle.
    assert common_view(as_if_straight, A).shift == pytest.approx(54 * 0.02, rel=0.15)


def test_a_turn_costs_colour():
    as_if_straight = replace(view(yaw=0.02), cameras=A.cameras)
    assert common_view(as_if_straight, A).psnr < common_view(A, B).psnr - 10


def test_exposure_is_no_shift():
    brighter = replace(A, frames=A.frames + 0.1)
    assert common_view(brighter, A).shift < 0.01


def test_what_stands_in_front_is_another_surface():
    # Something near covers the left half of B: what A saw there is hidden, not in disagreement.
    depth = B.depth.clone()
    depth[..., :36] = 0.3
    found = common_view(A, replace(B, depth=depth))
    assert found.share < 0.75 * common_view(A, B).share
    assert found.difference.quantile(0.9) < 5e-3


@pytest.mark.parametrize("first", [True, False])
def test_moving_things_do_not_count(first):
    """A thing that moved meanwhile lies elsewhere in the other frame, and nothing is wrong."""
    depth, static = A.depth.clone(), torch.ones_like(A.depth, dtype=torch.bool)
    depth[..., :36] *= 0.85
    static[..., :36] = False
    found = []
    for one in (replace(A, depth=depth), replace(A, depth=depth, static=static)):
        found.append(common_view(one, A) if first else common_view(A, one))
    assert found[0].difference.quantile(0.9) > 0.1
    assert found[1].difference.quantile(0.9) < 5e-3 and 0 < found[1].share < 0.55


def test_pixels_without_depth_do_not_count():
    hole = A.depth.clone()
    hole[:, :24] = 0
    assert common_view(replace(A, depth=hole), A).share < 0.51
    assert common_view(A, replace(A, depth=hole)).share < 0.51


def test_views_of_different_things():
    away = view(yaw=3.14)
    found = common_view(away, A)
    assert found.share == 0 and found.shift is None and found.psnr is None


def test_colours_without_texture_tell_no_shift():
    grey = replace(A, frames=torch.full_like(A.frames, 0.5))
    assert common_view(grey, grey).shift is None


def test_a_step_sideways_is_seen_by_the_walls_it_nears():
    assert common_view(moved(A, [0.0, 0.0, 0.05]), A).difference.median() > 0.005


def test_one_frame_each():
    two = view_room(look([[0.0, 0.0, 0.0]] * 2, [0.0, 0.1], SIZE))
    with pytest.raises(ValueError, match="one frame each, got 2 and 1"):
        common_view(two, A)
