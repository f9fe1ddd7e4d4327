import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from anchorweave.models.weaving.visible_tokens import coverage, seen_by, visible_tokens


def released_rule(visible, spatial, temporal):
    """Averages the holes as the released code is described to, frame by frame."""
    holes = (~visible[:, 1:]).double()
    pooled = F.avg_pool2d(holes, spatial)
    groups = pooled.split(temporal, dim=1)
    later = [group.mean(dim=1) <= 0.5 for group in groups]
    return torch.stack([torch.ones_like(later[0]), *later], dim=1)


def test_always_is_the_released_pooling():
    make = torch.Generator().manual_seed(0)
    # coarse blobs, so that tokens fall on both sides of one half
    visible = torch.rand(3, 9, 8, 12, generator=make).repeat_interleave(4, 2) > 0.5
    ours = visible_tokens(visible, spatial=4, temporal=4, first_frame="always")
    assert torch.equal(ours, released_rule(visible, 4, 4))
    assert ours.any() and not ours.all()


def test_half_seen_is_seen_and_one_pixel_less_is_not():
    visible = torch.zeros(1, 5, 2, 2, dtype=torch.bool)
    visible[0, 1:3] = True
    visible[0, 0, 0] = True
    assert visible_tokens(visible, spatial=2, temporal=4).flatten().tolist() == [True, True]
    visible[0, 0, 0, 0] = visible[0, 1, 0, 0] = False
    assert visible_tokens(visible, spatial=2, temporal=4).flatten().tolist() == [False, False]


def test_the_share_of_a_token_that_is_seen():
    visible = torch.zeros(1, 5, 2, 4, dtype=torch.bool)
    visible[0, 0, 0, 0] = True
    visible[0, 1:4, :, :2] = True
    share = coverage(visible, spatial=2, temporal=4)
    assert share.tolist() == [[[[0.25, 0.0]], [[0.75, 0.0]]]]
    assert torch.equal(seen_by(share), visible_tokens(visible, 2, 4))
    always = coverage(visible, 2, 4, first_frame="always")
    assert always.tolist() == [[[[1.0, 1.0]], [[0.75, 0.0]]]]


@pytest.mark.parametrize("pixels", [2 * 2 * 4, 32 * 32 * 4])
def test_a_share_below_one_half_is_below_it_also_where_it_is_stored_in_half_precision(pixels):
    seen = torch.arange(pixels + 1)
    share = seen.float() / pixels
    assert torch.equal(seen_by(share), 2 * seen >= pixels)
    assert torch.equal(seen_by(share.half().float()), 2 * seen >= pixels)


def test_a_padded_slot_shows_nothing_unless_asked_for_the_released_rule():
    nothing = torch.zeros(2, 9, 16, 16, dtype=torch.bool)
    assert not visible_tokens(nothing, 16, 4).any()
    always = visible_tokens(nothing, 16, 4, first_frame="always")
    assert always[:, 0].all() and not always[:, 1:].any()


def test_a_single_frame_is_a_latent_frame():
    assert visible_tokens(torch.ones(1, 16, 32, dtype=torch.bool), 16, 4).shape == (1, 1, 2)


@pytest.mark.parametrize(
    ("shape", "first_frame", "message"),
    [
        ((1, 8, 16, 16), "seen", "8 frames"),
        ((1, 9, 24, 16), "seen", "24x16"),
        ((1, 9, 16, 16), "sometimes", "sometimes"),
    ],
)
def test_bad_input_is_named(shape, first_frame, message):
    with pytest.raises(ValueError, match=message):
        visible_tokens(torch.ones(shape, dtype=torch.bool), 16, 4, first_frame=first_frame)
