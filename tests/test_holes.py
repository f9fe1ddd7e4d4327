import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from anchorweave.holes import CRACK_REACH, FAR, HOLES, fill_holes, nearest_seen


def scattered(share, size=(40, 60), count=6, seed=0):
    make = torch.Generator().manual_seed(seed)
    visible = torch.rand(count, *size, generator=make) < share
    visible[:, 5:30, 10:35] = False
    return visible, torch.rand(count, 3, *size, generator=make)


def offsets(source, size):
    H, W = size
    rows = source // W - torch.arange(H)[:, None]
    columns = source % W - torch.arange(W)
    return (rows**2 + columns**2).sqrt()


@pytest.mark.parametrize("share", [0.003, 0.05, 0.5, 0.95])
def test_each_hole_takes_the_nearest_seen_pixel(share):
    visible, _ = scattered(share)
    source = nearest_seen(visible, float(FAR))
    assert torch.gather(visible.flatten(1), 1, source.flatten(1)).all()
    met = offsets(source, visible.shape[1:])
    truth = torch.from_numpy(np.stack([distance_transform_edt(~one.numpy()) for one in visible]))
    # Two sweeps miss the nearest one now and then, by a fraction of a pixel.
    assert (met - truth).abs().max() < 0.5 and ((met - truth).abs() < 1e-4).float().mean() > 0.99


def test_what_was_seen_keeps_its_colour_and_holes_get_one_of_the_frames_own():
    visible, video = scattered(0.1)
    filled = fill_holes(video * visible[:, None], visible, "filled")
    seen = visible[:, None].expand_as(video)
    assert torch.equal(filled[seen], video[seen])
    source = nearest_seen(visible, float(FAR))
    expected = video.flatten(2).gather(2, source.flatten(1)[:, None].expand(-1, 3, -1))
    assert torch.equal(filled.flatten(2), expected)


def test_cracks_are_filled_and_what_was_never_looked_at_stays_black():
    visible = torch.ones(1, 80, 120, dtype=torch.bool)
    visible[0, :, 60:] = False
    visible[0, 20, 10] = visible[0, 40] = False
    video = torch.full((1, 3, 80, 120), 0.5) * visible[:, None]
    filled = fill_holes(video, visible, "cracks")
    reach = int(CRACK_REACH * 80)
    assert reach == 2 and (filled[..., :60] == 0.5).all()
    assert (filled[..., :30, 60 : 60 + reach] == 0.5).all() and not filled[..., 60 + reach :].any()
    assert (fill_holes(video, visible, "filled") == 0.5).all()
    assert fill_holes(video, visible, "black") is video


def test_a_frame_that_saw_nothing_stays_black_and_any_batch_shape_is_taken():
    visible, video = scattered(0.3)
    visible[2] = False
    video = video * visible[:, None]
    filled = fill_holes(video, visible, "filled")
    assert not filled[2].any() and filled[[0, 1, 3, 4, 5]].all()
    again = fill_holes(video.view(2, 3, 3, 40, 60), visible.view(2, 3, 40, 60), "filled")
    assert torch.equal(again.view_as(filled), filled)
    none = fill_holes(video[:0], visible[:0], "filled")
    assert none.shape == (0, 3, 40, 60)


def test_an_unknown_kind_is_refused():
    visible, video = scattered(0.3)
    with pytest.raises(ValueError, match=f"one of {', '.join(HOLES)}; met 'white'"):
        fill_holes(video, visible, "white")
