"""What one view shows and another one too."""

import math

import torch

from anchorweave.clip import Clip
from anchorweave.retrieval import coarse_views
from anchorweave.retrieval.coarse_views import CoarseViews
from anchorweave.retrieval.shared_surfaces import seen_from, shown_before, times_shown
from tests.rooms import look, view_room, walk


def seen(clip: Clip) -> CoarseViews:
    return coarse_views(clip.depth, clip.cameras, clip.names, 1)


def test_shown_before_against_a_plain_loop():
    clip, new = walk(3), view_room(look([[0.2, 0.1, -0.4]], [0.3]))
    clip.depth[1, 5:15, 10:20] *= 0.4
    new.depth[0, :4] = 0.0
    got = shown_before(new.depth[0], new.cameras[0], seen(clip), 0.05)
    expected = torch.zeros(24, 32, dtype=torch.bool)
    c2w, K = new.cameras.c2w[0].double(), new.cameras.K[0].double()
    for row in range(24):
        for column in range(32):
            depth = new.depth[0, row, column].double()
            pixel = torch.tensor([column + 0.5, row + 0.5, 1.0], dtype=torch.float64)
            point = c2w[:3, :3] @ (torch.linalg.inv(K) @ pixel * depth) + c2w[:3, 3]
            for i in range(3 if depth else 0):
                w2c = clip.cameras.w2c[i].double()
                x, y, z = clip.cameras.K[i].double() @ (w2c[:3, :3] @ point + w2c[:3, 3])
                if z <= 0 or not (0 <= x / z < 32 and 0 <= y / z < 24):
                    continue
                there = clip.depth[i, math.floor(y / z), math.floor(x / z)]
                if there > 0 and abs(z - there) <= 0.05 * there:
                    expected[row, column] = True
    assert (got == expected).float().mean() > 0.995
    assert 0.2 < expected.float().mean() < 0.8


def test_what_stands_behind_what_was_seen_is_new():
    clip = view_room(look([[0.0, 0.0, 0.0]], [0.0]))
    hidden = clip.depth.clone()
    hidden[0, 6:18, 8:24] = 1.0
    before = seen(Clip(clip.frames, hidden, clip.cameras, clip.names))
    shown = shown_before(clip.depth[0], clip.cameras[0], before, 0.05)
    assert not shown[6:18, 8:24].any() and shown[:6].all()
    # Nor was a thing there that the earlier frame looked through.
    assert not shown_before(hidden[0], clip.cameras[0], seen(clip), 0.05)[6:18, 8:24].any()


def test_both_directions_count_pair_by_pair():
    clip, new = walk(4), view_room(look([[0.2, 0.1, -0.4]], [0.3]))
    clip.depth[2, 5:15, 10:20] *= 0.4
    one, others = (new.depth[0], new.cameras[0]), seen(clip)
    pairs = [
        shown_before(*one, coarse_views(part.depth, part.cameras, part.names, 1), 0.05)
        for part in (clip[[i]] for i in range(4))
    ]
    times = times_shown(*one, others, 0.05)
    # Products of several cameras at once may round otherwise, which moves a point over an edge.
    assert (times == torch.stack(pairs).sum(dim=0)).float().mean() > 0.99
    assert len(times.unique()) > 2
    there = seen_from(*one, others, 0.05)
    for i in range(4):
        shown = shown_before(clip.depth[i], clip.cameras[i], seen(new), 0.05)
        assert ((there[i] > 0) == shown).float().mean() > 0.99
    assert 0.1 < there.float().mean() < 0.9


def test_far_from_the_origin_it_is_the_same():
    clip, new = walk(3), view_room(look([[0.2, 0.1, -0.4]], [0.3]))
    near = times_shown(new.depth[0], new.cameras[0], seen(clip), 0.05)
    for cameras in (clip.cameras, new.cameras):
        cameras.c2w[..., :3, 3] += 4096.0
    far = times_shown(new.depth[0], new.cameras[0], seen(clip), 0.05)
    # The centres themselves are rounded to half a millimetre there.
    assert (near == far).float().mean() > 0.98
