import numpy as np
import pytest
import torch

from anchorweave.clip import Clip, join_clips
from anchorweave.geometry import tsdf
from anchorweave.geometry.tsdf import GRID_START, TRUNCATION, TsdfMap, capped_side
from tests.alike import alike
from tests.rooms import HALF_SIZE, look, view_room


def grow(fused: TsdfMap, clip: Clip) -> TsdfMap:
    fused.grow(clip.cameras, lambda i: clip.depth[i], lambda i: clip.frames[i])
    return fused


def wall(depth=2.0, colour=0.5, count=1) -> Clip:
    """A wall across the view of a camera at the origin, seen `count` times."""
    cameras = look([[0.0, 0.0, 0.0]] * count, [0.0] * count, focal=64.0, size=(48, 64))
    depths = torch.full((count, *cameras.size), depth)
    frames = torch.full((count, 3, *cameras.size), colour)
    return Clip(frames, depths, cameras, tuple(f"{i}" for i in range(count)))


def with_thing(clip: Clip) -> Clip:
    """The same with a white thing before the wall."""
    clip.depth[:, 12:36, 16:48] = 1.0
    clip.frames[:, :, 12:36, 16:48] = 1.0
    return clip


def room(count=4, size=(72, 96)) -> Clip:
    steps = torch.linspace(-1, 1, count)
    positions = torch.stack([0.6 * steps, 0.1 * steps, -1.0 + 0.5 * steps], dim=-1)
    return view_room(look(positions, 0.7 * steps + 0.03, size, focal=0.8 * size[1]))


def same(a: TsdfMap, b: TsdfMap) -> bool:
    one, other = a.cloud(), b.cloud()
    return alike(one.points, other.points) and alike(one.colours, other.colours)


# 2.0 is a whole number of voxels of 0.02 and 0.05 in float32 as well.
@pytest.mark.parametrize("depth", [2.0, 2.007, 1.99])
@pytest.mark.parametrize("voxel", [0.02, 0.05])
def test_a_wall_is_where_it_was_seen(depth, voxel):
    cloud = grow(TsdfMap(voxel, 1200), wall(depth, 0.25)).cloud()
    assert (cloud.points[:, 2] - depth).abs().max() < 1e-4
    torch.testing.assert_close(cloud.colours, torch.full_like(cloud.colours, 0.25))
    # A point a voxel, up to where the image ends for the nearer of the voxels around it.
    assert len(cloud) == pytest.approx(depth * depth * 0.75 / voxel**2, rel=0.05)
    borders = depth * torch.tensor([0.5, 0.375])
    assert ((cloud.points[:, :2].amax(dim=0) - borders).abs() < 1.5 * voxel).all()
    assert ((cloud.points[:, :2].amin(dim=0) + borders).abs() < 1.5 * voxel).all()


def test_walls_of_a_room_lie_within_half_a_voxel():
    cloud = grow(TsdfMap(0.06, 1200), room(4, (120, 160))).cloud()
    error = (cloud.points.abs() - HALF_SIZE).abs().amin(dim=1)
    assert len(cloud) > 5000 and error.max() < 0.03 and error.median() < 0.01
    colours = 0.5 + 0.5 * torch.sin(cloud.points * torch.tensor([1.7, 2.3, 1.1]))
    assert (cloud.colours - colours).abs().mean() < 0.02


def dense_map(clip: Clip, side: float, min_weight: int) -> np.ndarray:
    """The surface [P, 3] by a plain loop over every voxel of one dense grid, sorted."""
    low = np.array([-16, -12, 0])
    shape = (32, 24, 30)
    distance, weight = np.zeros(shape), np.zeros(shape)
    corner = {index: (np.array(index) + low - GRID_START) * side for index in np.ndindex(shape)}
    for i, camera in enumerate(clip.cameras):
        w2c, K = camera.w2c.double().numpy(), camera.K.double().numpy()
        for index, point in corner.items():
            x, y, z = w2c[:3, :3] @ point + w2c[:3, 3]
            if z <= 0:
                continue
            u, v = K[0, 0] * x / z + K[0, 2], K[1, 1] * y / z + K[1, 2]
            if not (0 <= u < camera.size[1] and 0 <= v < camera.size[0]):
                continue
            seen = clip.depth[i, int(v), int(u)].item()
            ahead = (seen - z) / (TRUNCATION * side)
            if seen > 0 and ahead >= -1:
                total = distance[index] * weight[index] + min(ahead, 1.0)
                weight[index] += 1
                distance[index] = total / weight[index]
    points = []
    for index in np.ndindex(shape):
        for axis in range(3):
            after = tuple(np.array(index) + np.eye(3, dtype=int)[axis])
            if after[axis] == shape[axis] or min(weight[index], weight[after]) < min_weight:
                continue
            a, b = distance[index], distance[after]
            if a * b < 0:
                points.append(corner[index] + (corner[after] - corner[index]) * a / (a - b))
    points = np.array(points)
    return points[np.lexsort(points.T[::-1].round(4))]


@pytest.mark.parametrize("min_weight", [1, 2])
def test_blocks_hold_what_a_dense_grid_would(min_weight):
    seen = join_clips([wall(2.2), with_thing(wall(2.01, count=2))])
    seen.cameras.c2w[:, :3] = look(
        [[0.0, 0.0, 0.0], [0.1, 0.0, 0.2], [0.1, 0.02, 0.25]], [0.05, 0.0, -0.1]
    ).c2w[:, :3]
    fused = TsdfMap(0.1, 1200)
    # The thing comes into view later: its blocks have to learn that it was looked through.
    grow(fused, Clip(seen.frames[:1], seen.depth[:1], seen.cameras[:1], seen.names[:1]))
    got = grow(fused, seen).cloud(min_weight).points.double().numpy()
    expected = dense_map(seen, 0.1, min_weight)
    assert len(got) == len(expected) > 200
    np.testing.assert_allclose(got[np.lexsort(got.T[::-1].round(4))], expected, atol=1e-4)


def test_blocks_out_of_view_are_left_out_without_a_difference(monkeypatch):
    clip, looked = room(5), []
    pruned, whole = TsdfMap(0.1, 1200), TsdfMap(0.1, 1200)
    grow(pruned, clip)
    in_view = TsdfMap._in_view

    def everything(self, blocks, camera, far):
        looked.append(in_view(self, blocks, camera, far).float().mean().item())
        return torch.ones(len(blocks), dtype=torch.bool)

    monkeypatch.setattr(TsdfMap, "_in_view", everything)
    assert same(grow(whole, clip), pruned)
    assert max(looked) < 0.9


@pytest.mark.parametrize("when", [0, 1, 2])
def test_what_one_frame_saw_and_others_looked_through_drops_out(when):
    parts = [wall(), wall(), wall()]
    parts[when] = with_thing(wall())
    cloud = grow(TsdfMap(0.05, 1200), join_clips(parts)).cloud()
    assert (cloud.points[:, 2] - 2).abs().max() < 0.025
    assert len(cloud) == len(grow(TsdfMap(0.05, 1200), wall()).cloud())
    # Seen every time, the thing stays.
    still = grow(TsdfMap(0.05, 1200), with_thing(wall(count=3))).cloud()
    assert ((still.points[:, 2] - 1).abs() < 1e-3).sum() == pytest.approx(75, abs=10)


def test_frames_of_one_surface_are_averaged():
    seen = join_clips([wall(2.0, 0.2), wall(2.06, 0.5)])
    cloud = grow(TsdfMap(0.05, 1200), seen).cloud()
    torch.testing.assert_close(
        cloud.points[:, 2], torch.full((len(cloud),), 2.03), atol=1e-4, rtol=0
    )
    torch.testing.assert_close(cloud.colours, torch.full_like(cloud.colours, 0.35))


def test_a_minimum_weight_leaves_out_what_fewer_frames_saw():
    seen = wall(count=2)
    seen.depth[1, :, :32] = 0.0
    fused = grow(TsdfMap(0.05, 1200), seen)
    assert fused.cloud(1).points[:, 0].min() < -0.9
    assert fused.cloud(2).points[:, 0].min() > -0.05
    assert len(fused.cloud(3)) == 0


def test_growing_frame_by_frame_gives_the_same_bits():
    clip, parts = room(6), TsdfMap(0.06, 1200)
    for stop in (1, 2, 2, 4, 6):
        part = Clip(clip.frames[:stop], clip.depth[:stop], clip.cameras[:stop], clip.names[:stop])
        grow(parts, part)
    assert len(parts) == 6 and same(parts, grow(TsdfMap(0.06, 1200), clip))


def test_a_scene_that_outgrows_the_cap_is_built_anew():
    near, far = wall(1.0), wall(8.0)
    small = grow(TsdfMap(0.05, 40), near)
    assert small.side == 0.05
    grown = grow(small, join_clips([near, far]))
    # 8 m less half a pixel at both sides, in at most 40 voxels, in steps of 2 ** (1 / 4).
    assert grown.side == pytest.approx(0.05 * 2**2) and len(grown) == 2
    extent = (grown.cloud().points.amax(dim=0) - grown.cloud().points.amin(dim=0)).max()
    assert 0.9 * 8 < extent <= 40 * grown.side
    assert same(grown, grow(TsdfMap(0.05, 40), join_clips([near, far])))


@pytest.mark.parametrize(
    "extent, side", [(-1.0, 0.1), (0.0, 0.1), (10.0, 0.1), (10.1, 0.1 * 2**0.25), (40.0, 0.4)]
)
def test_voxels_grow_in_steps_beyond_the_cap(extent, side):
    assert capped_side(0.1, extent, 100) == pytest.approx(side)
    assert extent <= 100 * capped_side(0.1, extent, 100) * (1 + 1e-9)


def test_more_blocks_than_there_was_room_for(monkeypatch):
    clip = room(3)
    roomy = grow(TsdfMap(0.04, 1200), clip)
    monkeypatch.setattr(tsdf, "FIRST_ROOM", 8)
    assert same(grow(TsdfMap(0.04, 1200), clip), roomy)


def test_nothing_seen_is_an_empty_cloud():
    fused = TsdfMap(0.05, 1200)
    assert fused.cloud().points.shape == (0, 3) and len(fused) == 0
    assert len(grow(fused, wall(0.0, count=2)).cloud()) == 0 and len(fused) == 2
    assert len(grow(fused, join_clips([wall(0.0, count=2), wall()])).cloud()) > 0


def test_a_frame_that_cannot_be_read_is_not_half_fused():
    clip, fused = room(4), TsdfMap(0.1, 1200)

    def broken(i):
        if i == 2:
            raise OSError("gone")
        return clip.frames[i]

    with pytest.raises(OSError, match="gone"):
        fused.grow(clip.cameras, lambda i: clip.depth[i], broken)
    assert len(fused) == 0
    assert same(grow(fused, clip), grow(TsdfMap(0.1, 1200), clip))


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
def test_bad_depth_is_refused_and_the_map_is_as_it_was(bad):
    fused = grow(TsdfMap(0.05, 1200), wall())
    both = join_clips([wall(), wall()])
    both.depth[1, 3, 5] = bad
    with pytest.raises(ValueError, match="depth of frame 1 has negative, NaN or infinite"):
        grow(fused, both)
    assert len(fused) == 1 and same(fused, grow(TsdfMap(0.05, 1200), wall()))


@pytest.mark.parametrize("side", [0.0, -1.0, float("nan"), float("inf")])
def test_a_side_that_is_none_is_refused(side):
    with pytest.raises(ValueError, match="voxel side must be positive"):
        TsdfMap(side, 1200)


def test_a_cap_or_a_weight_that_is_none_is_refused():
    with pytest.raises(ValueError, match="1 voxel or more"):
        TsdfMap(0.1, 0)
    with pytest.raises(ValueError, match="min_weight=0"):
        TsdfMap(0.1, 10).cloud(0)
