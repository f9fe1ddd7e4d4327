"""The rasteriser, shadows and searches of rooms beside a plain ray caster."""

import numpy as np
import pytest
import torch

from anchorweave.geometry.cameras import Cameras, intrinsics
from anchorweave.geometry.projection import project, unproject
from anchorweave.recordings import procedural_recording
from anchorweave.recordings.pinhole_view import view_of
from anchorweave.recordings.procedural_rooms.lighting import (
    AMBIENT,
    GAMMA,
    LAMP,
    LAMP_FALL_OFF,
    STAIN,
    STAIN_WAVES,
    UPWARD,
)
from anchorweave.recordings.procedural_rooms.rasterizing import (
    NOTHING,
    depths,
    in_blocks,
    seen_triangles,
)
from anchorweave.recordings.procedural_rooms.room_renderer import room_renderer
from anchorweave.recordings.procedural_rooms.shading import LAMP_CORNERS
from anchorweave.recordings.procedural_rooms.shadows import cast_shadows, lamp_maps
from anchorweave.recordings.procedural_rooms.walks import look_along

SEED = 3
SIZE = (48, 64)


@pytest.fixture(scope="module")
def room():
    return procedural_recording(SEED, size=SIZE)


@pytest.fixture(scope="module")
def corners(room):
    return np.concatenate(room.room.surfaces.corners).astype(np.float32).astype(np.float64)


def met(corners, origin, directions):
    """What rays [P, 3] from one origin meet first: length, triangle and barycentric weights.

    Each triangle's corner a and edges e, f give the three equations a + e s + f t = d r.
    """
    a, e, f = corners[:, 0] - origin, corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    normal = np.cross(e, f)
    lengths, triangles, weights = [], [], []
    for d in directions:
        with np.errstate(all="ignore"):
            r = (normal * a).sum(1) / (normal @ d)
            offset = r[:, None] * d - a
            area = (normal**2).sum(1)
            s = (np.cross(offset, f) * normal).sum(1) / area
            t = (np.cross(e, offset) * normal).sum(1) / area
            inside = (s >= -1e-9) & (t >= -1e-9) & (s + t <= 1 + 1e-9) & (r > 0)
        r = np.where(inside, r, np.inf)
        first = int(r.argmin())
        lengths.append(r[first])
        triangles.append(first)
        weights.append(
            (1 - s[first] - t[first], s[first], t[first]) if first < len(s) else 3 * (0,)
        )
    return np.array(lengths), np.array(triangles), np.array(weights)


def pixel_rays(camera, pixels):
    """Origin and rays [P, 3], one depth long, of pixels [P, 2] (row, column)."""
    c2w, K = camera.c2w.double().numpy(), camera.K.double().numpy()
    u, v = pixels[:, 1] + 0.5, pixels[:, 0] + 0.5
    local = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones(len(u))], axis=1)
    return c2w[:3, 3], local @ c2w[:3, :3].T


def some_pixels(count, size=SIZE, seed=0):
    return np.random.default_rng(seed).integers(0, size, (count, 2))


@pytest.mark.parametrize("i", [0, 30])
def test_depth_is_that_of_rays(room, corners, i):
    pixels = some_pixels(80)
    expected, _, _ = met(corners, *pixel_rays(room.cameras[i], pixels))
    depth = room.depth(i).numpy()[tuple(pixels.T)]
    # A ray along an edge may go either way; this many pixels have none of them.
    assert np.mean(np.abs(depth - expected) < 1e-4 * expected) > 0.98


def sampled(textures, material, uv, level):
    """Trilinear texture lookup, written out."""
    levels = [textures[material].astype(np.float64)]
    while len(levels[-1]) > 1:
        t = levels[-1]
        levels.append((t[::2, ::2] + t[1::2, ::2] + t[::2, 1::2] + t[1::2, 1::2]) / 4)
    level = min(max(level, 0), len(levels) - 1.001)
    colour = np.zeros(3)
    for i, share in ((int(level), 1 - level % 1), (int(level) + 1, level % 1)):
        side = len(levels[i])
        at = uv * side - 0.5
        low = np.floor(at).astype(int)
        fu, fv = at - low
        for du, wu in ((0, 1 - fu), (1, fu)):
            for dv, wv in ((0, 1 - fv), (1, fv)):
                colour += share * wu * wv * levels[i][(low[1] + dv) % side, (low[0] + du) % side]
    return colour


def shaded(room, corners, origin, rays, pixel, lamp):
    """Colours [P, 3] of rays, lit from one point of the lamp, one ray after another."""
    surfaces, textures = room.surfaces, room.textures
    normals, uv = np.concatenate(surfaces.normals), np.concatenate(surfaces.uv)
    materials = np.concatenate(surfaces.materials)
    colours, boxes = [], (corners.min(1), corners.max(1))
    for ray, depth, f, weights in zip(rays, *met(corners, origin, rays), strict=True):
        normal = weights @ normals[f]
        normal *= -np.sign(normal @ ray) / np.linalg.norm(normal)
        slant = max(-normal @ ray / np.linalg.norm(ray), 0.05)
        e, g = np.diff(uv[f], axis=0)
        area = np.linalg.norm(np.cross(*np.diff(corners[f], axis=0)))
        density = textures.shape[1] * np.sqrt(abs(e[0] * g[1] - e[1] * g[0]) / area)
        level = np.log2(depth * pixel / np.sqrt(slant) * density)
        point = origin + depth * ray
        albedo = sampled(textures, materials[f], weights @ uv[f], level)
        albedo = albedo * (1 + STAIN * np.sin(point @ STAIN_WAVES).prod())
        light = 1.0
        if not room.glowing[materials[f]]:
            towards = lamp - point
            distance = np.linalg.norm(towards)
            lit = not blocked(corners, boxes, point + 2e-3 * normal, lamp)
            lambert = max(normal @ towards / distance, 0)
            direct = LAMP * lit * lambert / (1 + LAMP_FALL_OFF * distance**2)
            light = AMBIENT + UPWARD * normal[2] + direct
        colours.append(np.clip(albedo**GAMMA * light, 0, 1) ** (1 / GAMMA))
    return np.array(colours)


def blocked(corners, boxes, point, lamp):
    """Whether a ray from the point meets anything before the lamp (or right at its own start)."""
    ahead = point + 2e-3 * (lamp - point)
    low, high = np.minimum(ahead, lamp), np.maximum(ahead, lamp)
    near = ((boxes[0] <= high) & (boxes[1] >= low)).all(1)
    found = met(corners[near], ahead, (lamp - point)[None])[0] if near.any() else np.inf
    return bool(found < 0.98 - 2e-3)


def test_colours_are_those_of_rays(room, corners):
    """Every pixel is the mean of four samples, each lit from a point of the lamp of its own."""
    camera, pixels = room.cameras[20], some_pixels(25, seed=1)
    fine = camera.resized((2 * SIZE[0], 2 * SIZE[1]))
    expected = np.zeros((len(pixels), 3))
    for corner in range(4):
        origin, rays = pixel_rays(fine, 2 * pixels + [corner // 2, corner % 2])
        lamp = room.room.lamp + LAMP_CORNERS[corner]
        expected += shaded(room.room, corners, origin, rays, 1 / float(camera.K[0, 0]), lamp) / 4
    error = np.abs(room.frame(20).numpy()[:, pixels[:, 0], pixels[:, 1]].T - expected).max(axis=1)
    # Approximated functions cost less than a thousandth; a sample on an edge may be another's.
    assert np.mean(error < 2e-3) >= 0.9 and error.mean() < 0.02


def test_shadows_are_those_of_rays(room, corners):
    """Points all over two views; a ray that grazes an edge may go either way."""
    lamp = (room.room.lamp + LAMP_CORNERS[:1]).astype(np.float32)
    single = corners.astype(np.float32)
    maps = lamp_maps(single, lamp)
    agree, dark, boxes = [], [], (corners.min(1), corners.max(1))
    for i in (0, 30):
        view, pixels = view_of(room.cameras[i]), tuple(some_pixels(250, seed=i).T)
        seen = seen_triangles(single, in_blocks(single), view)
        triangles, depth = seen[pixels], depths(single, seen, view)[pixels]
        origin, rays = pixel_rays(room.cameras[i], np.stack(pixels, axis=1))
        a, b, c = corners[triangles].transpose(1, 0, 2)
        normals = np.cross(b - a, c - a)
        normals *= -np.sign((normals * rays).sum(1, keepdims=True))
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        points = origin + depth[:, None] * rays + 2e-3 * normals
        light = np.ones(len(points), np.float32)
        lamps = np.repeat(lamp.T, len(points), axis=1)
        row = np.ascontiguousarray(points.T, dtype=np.float32)
        cast_shadows(single, maps, triangles, row, lamps, 0, 1, light)
        for point, normal, shown in zip(points, normals, light, strict=True):
            # What is turned away from the lamp gets none of its light anyway.
            if normal @ (lamp[0] - point) > 0:
                dark.append(blocked(corners, boxes, point, lamp[0]))
                agree.append((shown == 0) == dark[-1])
    assert len(dark) > 300 and 0.05 < np.mean(dark) < 0.6
    assert np.mean(agree) >= 0.98


def test_a_wall_that_reaches_behind_the_camera():
    """Near a long floor, most of whose corners lie behind: the depth has a closed form."""
    floor = np.array(
        [[[-50, -50, 0], [50, -50, 0], [50, 50, 0]], [[-50, -50, 0], [50, 50, 0], [-50, 50, 0]]]
    ).astype(np.float32)
    c2w = look_along(torch.tensor([[3.0, -2.0, 0.05]]), torch.tensor([1.2]), torch.tensor([-0.1]))
    camera = Cameras(c2w, intrinsics(40.0, 40.0, 32.0, 24.0)[None], SIZE)[0]
    view = view_of(camera)
    triangles = seen_triangles(floor, in_blocks(floor), view)
    _, rays = pixel_rays(camera, np.argwhere(np.ones(SIZE)))
    expected = np.where(rays[:, 2] < -0.05 / 40, -0.05 / rays[:, 2], 0).reshape(SIZE)
    depth = depths(floor, triangles, view)
    near = (expected > 0) & (expected < 30)
    assert near.mean() > 0.4
    np.testing.assert_allclose(depth[near], expected[near], rtol=1e-5)
    assert (triangles[rays[:, 2].reshape(SIZE) > 0] == NOTHING).all()
    assert set(np.unique(triangles[near])) == {0, 1}


def test_what_is_nearer_than_the_near_plane_is_not_seen():
    sheets = np.array([[[z, -9, -9], [z, 9, -9], [z, 0, 9]] for z in (0.5, 2.0)], dtype=np.float32)
    c2w = look_along(torch.zeros(1, 3), torch.zeros(1), torch.zeros(1))
    view = view_of(Cameras(c2w, intrinsics(40.0, 40.0, 4.0, 3.0)[None], (6, 8))[0])
    blocks = in_blocks(sheets)
    assert (seen_triangles(sheets, blocks, view) == 0).all()
    assert (seen_triangles(sheets, blocks, view, near=0.6) == 1).all()
    assert (seen_triangles(sheets, blocks, view, near=3.0) == NOTHING).all()


def test_distances_are_those_to_the_nearest_triangle(room, corners):
    rng = np.random.default_rng(0)
    points = rng.uniform(0.2, 0.8, (20, 3)) * room.room.extent
    for point, found in zip(points, room.distances(points), strict=True):
        to_box = np.maximum(corners.min(1) - point, point - corners.max(1)).clip(0)
        # Triangles whose boxes are farther away than what was found cannot be nearer.
        near = corners[np.linalg.norm(to_box, axis=1) <= found + 1e-4]
        assert len(near) > 0
        assert abs(min(closest(triangle, point) for triangle in near) - found) < 1e-4


def closest(triangle, point):
    """Distance to a triangle: the least over a grid of weights, refined around the best."""
    low, high = np.zeros(2), np.ones(2)
    for _ in range(30):
        b, c = np.meshgrid(*np.linspace(low, high, 9).T, indexing="ij")
        total = np.maximum(b + c, 1)
        b, c = (b / total).ravel(), (c / total).ravel()
        weights = np.stack([1 - b - c, b, c], axis=1)
        distances = np.linalg.norm(weights @ triangle - point, axis=1)
        best, size = weights[distances.argmin(), 1:], 0.6 * (high - low) / 2
        low, high = (best - size).clip(0, 1), (best + size).clip(0, 1)
    return distances.min()


def test_views_are_those_of_rays(room, corners):
    rng = np.random.default_rng(5)
    origin = np.array(room.room.extent) * [0.45, 0.55, 0.6]
    directions = rng.normal(size=(40, 3))
    # Along axes too, where boxes are entered through rays that run within their sides.
    directions[:3] = np.eye(3)
    search = room_renderer(SEED).search
    found = search.views(np.broadcast_to(origin, (40, 3)), directions)
    expected, _, _ = met(corners, origin, directions)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    outside = np.array([[-1.0, -1.0, -1.0]])
    assert np.isinf(search.views(outside, np.array([[-1.0, 0.2, 0.1]])))[0]


def test_a_point_seen_twice_has_one_colour(room):
    """Between frames a few steps apart, where resampling changes little."""
    fine = procedural_recording(SEED, size=(128, 192))
    clip = fine.clip([40, 42])
    points = unproject(clip.depth[0], clip.cameras[0]).flatten(0, 1)
    position, z = project(points, clip.cameras[1])
    column, row = position.floor().long().unbind(-1)
    inside = (z > 0) & (column >= 0) & (column < 192) & (row >= 0) & (row < 128)
    at = (row[inside], column[inside])
    same = (clip.depth[1][at] - z[inside]).abs() < 0.01 * z[inside]
    error = (
        (clip.frames[0].flatten(1)[:, inside] - clip.frames[1][:, at[0], at[1]]).abs().mean(0)[same]
    )
    # Half a pixel of resampling, on patterns as fine as a pixel.
    assert same.float().mean() > 0.8 and error.median() < 0.03 and error.mean() < 0.06
