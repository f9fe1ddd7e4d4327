from dataclasses import replace

import pytest
import torch

from anchorweave.clip import Clip
from anchorweave.evaluation.cross_view import EDGE, SAME_SURFACE, CrossView, cross_view
from anchorweave.geometry.point_cloud import depth_edges
from anchorweave.geometry.projection import project, unproject
from tests.rooms import look, view_room

FOCAL = 60.0
LEVELS = 255


def wall(steps=(0.0, 0.1, 0.2), distance=2.0, size=(12, 16)):
    """A grey wall straight ahead, passed sideways: 3 pixels a step of 0.1."""
    cameras = look([[step, 0.0, 0.0] for step in steps], [0.0] * len(steps), size, FOCAL)
    T, names = len(steps), tuple(map(str, steps))
    return Clip(torch.full((T, 3, *size), 0.5), torch.full((T, *size), distance), cameras, names)


def everywhere(clip):
    return torch.ones_like(clip.depth, dtype=torch.bool)


def room(count=5, size=(24, 32)):
    steps = torch.linspace(-1, 1, count)
    positions = torch.stack([0.4 * steps, 0.1 * steps, -1.0 + 0.3 * steps], dim=-1)
    return view_room(look(positions, 0.3 * steps, size, 24.0))


def test_who_shows_the_truth_disagrees_as_it_does():
    clip = room()
    found = cross_view(clip.frames, clip.depth, everywhere(clip), clip, 1)
    assert found.colour == found.truth and found.colour < 8
    assert found.motion == 0 and 0.5 < found.share <= 1


def test_a_camera_that_stands_still_leaves_nothing_to_differ():
    one = room(1)
    clip = Clip(*(torch.cat([part] * 3) for part in (one.frames, one.depth)),
                look([[0.0, 0.0, -1.0]] * 3, [0.0] * 3), ("a", "b", "c"))  # fmt: skip
    found = cross_view(clip.frames, clip.depth, everywhere(clip), clip, 2)
    assert (found.colour, found.truth) == (0, 0) and found.motion == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("gap", [1, 2])
def test_a_wrong_distance_moves_as_far_as_geometry_says(gap):
    clip = wall()
    found = cross_view(clip.frames, 1.1 * clip.depth, everywhere(clip), clip, gap)
    step = FOCAL * 0.1 * gap
    assert found.motion == pytest.approx(step / 2.0 - step / 2.2, rel=1e-4)
    # Three of sixteen columns leave the image with every step.
    assert found.share == pytest.approx(1 - 3 * gap / 16)
    assert found.colour == 0


def test_what_is_shown_differently_later_is_told_in_levels():
    clip = wall()
    video = clip.frames.clone()
    video[1, 0] += 0.3
    found = cross_view(video, clip.depth, everywhere(clip), clip, 1)
    # Both pairs hold the frame whose red is off; a mean over three channels.
    assert found.colour == pytest.approx(LEVELS * 0.1, rel=1e-5) and found.truth == 0
    assert cross_view(video, clip.depth, everywhere(clip), clip, 2).colour == 0


def test_only_pixels_that_count_at_both_ends_are_compared():
    clip = wall()
    video, counts = clip.frames.clone(), everywhere(clip)
    video[1, :, :, :8], counts[1, :, :8] = 1.0, False
    found = cross_view(video, clip.depth, counts, clip, 1)
    # Early columns 11.. land on later 8..; the other pair keeps 8..15 less those below 3.
    assert found.colour == 0 and found.share == pytest.approx((5 + 8) / 32)


def test_a_surface_that_is_hidden_later_is_not_compared():
    clip = wall()
    depth = clip.depth.clone()
    depth[1] = 1.0
    hidden = replace(clip, depth=depth)
    assert cross_view(clip.frames, depth, everywhere(clip), hidden, 1).share == 0


def test_the_same_as_pixel_by_pixel():
    clip = room(4, (12, 16))
    noise = torch.Generator().manual_seed(0)
    video = torch.rand(clip.frames.shape, generator=noise)
    depth = clip.depth * (1 + 0.1 * torch.rand(clip.depth.shape, generator=noise))
    counts = torch.rand(clip.depth.shape, generator=noise) > 0.2
    known = torch.where(torch.rand(clip.depth.shape, generator=noise) > 0.1, clip.depth, 0.0)
    clip = replace(clip, depth=known)
    found = cross_view(video, depth, counts, clip, 1)
    slow = pixel_by_pixel(video, depth, counts, clip, 1)
    assert found.share == slow.share > 0.2
    for name in ("colour", "truth", "motion"):
        assert getattr(found, name) == pytest.approx(getattr(slow, name), rel=1e-4)


def pixel_by_pixel(video, depth, counts, clip, gap):
    (height, width), colours, truths, moved, pixels = clip.cameras.size, [], [], [], 0
    for early in range(len(clip) - gap):
        late, camera = early + gap, clip.cameras[early]
        edges = depth_edges(clip.depth[early], EDGE)
        true, drawn = (unproject(d[early], camera) for d in (clip.depth, depth))
        for i in range(height):
            for j in range(width):
                pixels += 1
                if not clip.depth[early, i, j] or edges[i, j] or not counts[early, i, j]:
                    continue
                (at,), (z,) = project(true[i, j][None], clip.cameras[late])
                (wrong,), (ahead,) = project(drawn[i, j][None], clip.cameras[late])
                v, u = int(at[1].floor()), int(at[0].floor())
                if z <= 0 or ahead <= 0 or not (0 <= v < height and 0 <= u < width):
                    continue
                there = clip.depth[late, v, u]
                if not there or abs(z - there) > SAME_SURFACE * there or not counts[late, v, u]:
                    continue
                for shown, kept in ((video, colours), (clip.frames, truths)):
                    kept.append((shown[early, :, i, j] - shown[late, :, v, u]).abs().mean())
                moved.append((wrong - at).norm())
    colour, truth = (LEVELS * torch.stack(kept).mean().item() for kept in (colours, truths))
    return CrossView(colour, truth, torch.stack(moved).median().item(), len(moved) / pixels)


def test_nothing_to_compare():
    clip, nothing = wall(), CrossView(None, None, None, 0.0)
    no_pixel = torch.zeros_like(clip.depth, dtype=torch.bool)
    unknown = replace(clip, depth=torch.zeros_like(clip.depth))
    assert cross_view(clip.frames, clip.depth, no_pixel, clip, 1) == nothing
    assert cross_view(clip.frames, clip.depth, everywhere(clip), unknown, 1) == nothing
    assert cross_view(clip.frames, clip.depth, everywhere(clip), clip, 3) == nothing
    with pytest.raises(ValueError, match="gap=0: must be 1 or more"):
        cross_view(clip.frames, clip.depth, everywhere(clip), clip, 0)
