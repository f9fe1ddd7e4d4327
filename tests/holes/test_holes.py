"""Holes take the nearest seen pixel's colour: against scipy's exact distance transform."""

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from anchorweave.holes import (
    CRACK_REACH,
    HOLES,
    check_holes,
    fill_holes,
    nearest_numba,
    nearest_torch,
)

FILLS = pytest.mark.parametrize("twin", [nearest_numba, nearest_torch])


def named(T, H, W):
    """A video whose red is the number of the pixel within its frame: tells whose colour it was."""
    video = torch.rand(T, 3, H, W, generator=torch.Generator().manual_seed(0))
    video[:, 0] = torch.arange(H * W, dtype=torch.float).view(H, W)
    return video


def masks():
    """Thin cracks, mostly unseen, half an image, one pixel, one row, one column, all."""
    generator = torch.Generator().manual_seed(1)
    visible = torch.zeros(8, 37, 53, dtype=torch.bool)
    visible[0] = torch.rand(37, 53, generator=generator) > 0.1
    visible[1] = torch.rand(37, 53, generator=generator) > 0.9
    visible[2] = torch.rand(37, 53, generator=generator) > 0.995
    visible[3, :, 26:] = True
    visible[4, 30, 5] = True
    visible[5, 11] = True
    visible[6, :, 52] = True
    visible[7] = True
    return visible


def squared_to_source(filled):
    """Squared distance of each pixel from the one whose colour it has."""
    H, W = filled.shape[-2:]
    source = filled[:, 0].long()
    rows, columns = torch.arange(H)[:, None], torch.arange(W)
    return (source // W - rows) ** 2 + (source % W - columns) ** 2


def squared_to_seen(visible):
    distance = np.stack([distance_transform_edt(~frame) for frame in visible.numpy()])
    return torch.from_numpy(np.rint(distance**2)).long()


@FILLS
def test_every_hole_takes_a_nearest_seen_pixel(twin):
    visible = masks()
    video = named(*visible.shape)
    filled = twin.fill(video, visible, reach=1000)
    source = filled[:, 0].long()
    assert visible.flatten(1).gather(1, source.flatten(1)).all()
    assert torch.equal(squared_to_source(filled), squared_to_seen(visible))
    # All three colours come from one pixel.
    for c in (1, 2):
        colour = video[:, c].flatten(1).gather(1, source.flatten(1)).view_as(source)
        assert torch.equal(filled[:, c], colour)


@FILLS
@pytest.mark.parametrize("reach", [0, 1, 3, 7])
def test_within_reach_only(twin, reach):
    visible = masks()
    video = named(*visible.shape)
    near = squared_to_seen(visible) <= reach**2
    filled, whole = twin.fill(video, visible, reach), twin.fill(video, visible, 1000)
    assert torch.equal(filled, torch.where(near[:, None], whole, video))


@FILLS
def test_a_frame_without_a_seen_pixel_stays_as_it_is(twin):
    visible = masks()
    visible[1] = False
    video = named(*visible.shape)
    filled = twin.fill(video, visible, 1000)
    assert torch.equal(filled[1], video[1])
    assert torch.equal(squared_to_source(filled)[2:], squared_to_seen(visible)[2:])
    nothing = torch.zeros_like(visible)
    assert torch.equal(twin.fill(video, nothing, 1000), video)


@FILLS
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
def test_the_smallest_images(twin, size):
    visible = torch.zeros(1, *size, dtype=torch.bool)
    visible[0, -1, -1] = True
    filled = twin.fill(named(1, *size), visible, 1000)
    assert (filled[:, 0] == size[0] * size[1] - 1).all()


def test_the_three_ways():
    visible = masks()[None]
    video = named(8, 37, 53)[None] * visible[:, :, None]
    assert fill_holes(video, visible, "black") is video
    near = squared_to_seen(visible[0]) <= CRACK_REACH**2
    cracks, filled = (fill_holes(video, visible, holes) for holes in ("cracks", "filled"))
    assert torch.equal(filled[0], nearest_numba.fill(video[0], visible[0], 1000))
    assert torch.equal(cracks[0], torch.where(near[:, None], filled[0], video[0]))
    assert not cracks[0, 4, :, 0, 50].any() and filled[0, 4, 0, 0, 50] == 30 * 53 + 5


def test_seen_pixels_and_the_input_are_left_alone():
    visible = masks()
    video = torch.rand(8, 3, 37, 53) * visible[:, None]
    before = video.clone()
    filled = fill_holes(video, visible, "filled")
    seen = visible[:, None].expand_as(video)
    assert torch.equal(video, before) and torch.equal(filled[seen], video[seen])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_any_precision(dtype):
    visible = masks()
    video = torch.rand(8, 3, 37, 53).to(dtype)
    filled = fill_holes(video, visible, "filled")
    assert filled.dtype == dtype
    assert torch.equal(filled, nearest_numba.fill(video.float(), visible, 1000).to(dtype))


def test_any_leading_axes_and_none_at_all():
    visible = masks().view(2, 4, 37, 53)
    video = named(8, 37, 53).view(2, 4, 3, 37, 53)
    each = torch.stack([fill_holes(v, s, "filled") for v, s in zip(video, visible, strict=True)])
    assert torch.equal(fill_holes(video, visible, "filled"), each)
    assert fill_holes(video[:0], visible[:0], "filled").shape == (0, 4, 3, 37, 53)


def test_threads_change_nothing(monkeypatch):
    visible = masks()
    video = named(*visible.shape)
    alone = nearest_numba.fill(video, visible, 1000)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert torch.equal(nearest_numba.fill(video, visible, 1000), alone)


def test_what_is_refused():
    video, visible = torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match="holes is one of black, cracks, filled; got 'grey'"):
        fill_holes(video, visible, "grey")
    with pytest.raises(ValueError, match="reach=-1 pixels"):
        fill_holes(video, visible, "cracks", reach=-1)
    with pytest.raises(ValueError, match=r"\(2, 3, 4, 4\) on cpu .* on meta"):
        fill_holes(video, visible.to("meta"), "filled")
    for holes in HOLES:
        check_holes(holes)
