"""Shades the samples of a room view, and averages them into pixels.

All light is diffuse, so a point looks the same from everywhere, as photo-consistency assumes.
"""

from __future__ import annotations

from functools import cached_property
from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int32
from numba import njit

from anchorweave.recordings.pinhole_view import View
from anchorweave.recordings.procedural_rooms.lighting import illuminate, levels_of_detail, tone
from anchorweave.recordings.procedural_rooms.rasterizing import COMPILED, NOTHING, inverse_corners
from anchorweave.recordings.procedural_rooms.rooms import Room
from anchorweave.recordings.procedural_rooms.shadows import cast_shadows, lamp_maps
from anchorweave.recordings.procedural_rooms.texture_pyramid import Pyramid, pyramid_of, textured

# Four points on the lamp, one per sample of a pixel, soften the shadows' edges.
LAMP_CORNERS = 0.12 * np.array([[1, 1, 0], [-1, 1, 0], [1, -1, 0], [-1, -1, 0]])
# In metres; offset of shadow rays from the surface.
LIFT = 2e-3
# Samples per pixel along each axis.
SAMPLES = 2


class Shader:
    """Shades views of one room.

    Args:
        room: triangles and textures.
        corners: corners of its triangles [F, 3, 3], float32.
    """

    def __init__(self, room: Room, corners: Float[np.ndarray, "F 3 3"]):
        surfaces = room.surfaces
        self._corners = corners
        self._normals = np.concatenate(surfaces.normals).astype(np.float32)
        self._uv = np.concatenate(surfaces.uv).astype(np.float32)
        used, material = np.unique(np.concatenate(surfaces.materials), return_inverse=True)
        self._material = material.astype(np.int32)
        self._glowing = room.glowing[used][material]
        self._texels_a_metre = _texel_density(corners, self._uv, room.textures.shape[1])
        self._textures = room.textures, used
        self._lamp = (room.lamp + LAMP_CORNERS).astype(np.float32)

    @cached_property
    def _pyramid(self) -> Pyramid:
        textures, used = self._textures
        return pyramid_of(textures[used])

    @cached_property
    def _maps(self) -> np.ndarray:
        return lamp_maps(self._corners, self._lamp)

    def colours(
        self, view: View, triangles: Int32[np.ndarray, "H2 W2"], pixel: float
    ) -> Float[np.ndarray, "3 H W"]:
        """Colours [3, H, W] in [0, 1], float32, each the mean of its samples.

        Args:
            view: the view at sample resolution.
            triangles: the triangle visible in each sample.
            pixel: width of a pixel (not a sample) at depth 1.
        """
        out = np.zeros((3, view.size[0] // SAMPLES, view.size[1] // SAMPLES), np.float32)
        _shade(
            triangles, view.eye, view.rays, np.float32(pixel),
            self._corners, self._normals, self._uv, self._material, self._texels_a_metre,
            self._pyramid.texels, self._pyramid.starts, self._glowing, self._lamp, self._maps, out,
        )  # fmt: skip
        return out


def _texel_density(
    corners: Float[np.ndarray, "F 3 3"], uv: Float[np.ndarray, "F 3 2"], side: int
) -> Float[np.ndarray, " F"]:
    """Texels per metre of every triangle, from its area in texture and world space."""
    corners, uv = corners.astype(np.float64), uv.astype(np.float64)
    edges, uv_edges = corners[:, 1:] - corners[:, :1], uv[:, 1:] - uv[:, :1]
    area = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
    uv_area = np.abs(uv_edges[:, 0, 0] * uv_edges[:, 1, 1] - uv_edges[:, 0, 1] * uv_edges[:, 1, 0])
    return (side * np.sqrt(uv_area / area)).astype(np.float32)


@njit(**COMPILED)
@no_type_check
def _shade(
    triangles, eye, rays, pixel, corners, normals, uv, material, density,
    texels, starts, glowing, lamp, maps, out,
):  # fmt: skip
    height, width = triangles.shape
    # Everything is computed for one row of samples at a time.
    lamps, directions = np.empty((3, width), np.float32), np.empty((3, width), np.float32)
    at_uv, normal = np.zeros((2, width), np.float32), np.zeros((3, width), np.float32)
    depth, footprint = np.zeros(width, np.float32), np.zeros(width, np.float32)
    point, lifted = np.empty((3, width), np.float32), np.empty((3, width), np.float32)
    direct, other = np.empty(width, np.float32), np.empty(width, np.float32)
    level, tones = np.empty(width, np.float32), np.empty(width, np.float32)
    share, lift, one = np.float32(1 / SAMPLES**2), np.float32(LIFT), np.float32(1)
    eye_position, coarsest = eye.astype(np.float32), len(starts) - 2
    for row in range(height):
        seen = triangles[row]
        first = (row % SAMPLES) * SAMPLES
        for axis in range(3):
            start, step = rays[0, axis] + (row + 0.5) * rays[2, axis], rays[1, axis]
            for column in range(width):
                directions[axis, column] = start + (column + 0.5) * step
                lamps[axis, column] = lamp[first + column % SAMPLES, axis]
        _interpolate(
            seen, row + 0.5, eye, rays, corners, normals, uv, density,
            at_uv, normal, depth, footprint,
        )  # fmt: skip
        illuminate(
            eye_position, directions, lamps, pixel, depth, normal, footprint, point, direct, other
        )
        levels_of_detail(footprint, coarsest, level)
        for column in range(width):
            if seen[column] != NOTHING and glowing[seen[column]]:
                direct[column], other[column] = 0, 1
        for axis in range(3):
            for column in range(width):
                lifted[axis, column] = point[axis, column] + lift * normal[axis, column]
        cast_shadows(corners, maps, seen, lifted, lamps, first, SAMPLES, direct)
        tone(point, direct, other, tones)
        for column in range(width):
            f = seen[column]
            if f == NOTHING:
                continue
            r, g, b = textured(
                texels, starts, material[f], at_uv[0, column], at_uv[1, column], level[column]
            )
            i, j = row // SAMPLES, column // SAMPLES
            out[0, i, j] += share * min(r * tones[column], one)
            out[1, i, j] += share * min(g * tones[column], one)
            out[2, i, j] += share * min(b * tones[column], one)


@njit(**COMPILED)
@no_type_check
def _interpolate(
    seen, v, eye, rays, corners, normals, uv, density, at_uv, normal, depth, texels_a_metre
):
    """Texture coordinates, normals, depth and texels per metre along a row of samples."""
    last = np.int32(NOTHING)
    a0, b0, c0, da, db, dc = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    x, y, z = rays[0, 0] + v * rays[2, 0], rays[0, 1] + v * rays[2, 1], rays[0, 2] + v * rays[2, 2]
    dx, dy, dz = rays[1, 0], rays[1, 1], rays[1, 2]
    for column in range(seen.size):
        if seen[column] == NOTHING:
            continue
        f = np.uint64(seen[column])
        if seen[column] != last:
            last, m = seen[column], inverse_corners(corners, f, eye)
            a0, da = m[0] * x + m[1] * y + m[2] * z, m[0] * dx + m[1] * dy + m[2] * dz
            b0, db = m[3] * x + m[4] * y + m[5] * z, m[3] * dx + m[4] * dy + m[5] * dz
            c0, dc = m[6] * x + m[7] * y + m[8] * z, m[6] * dx + m[7] * dy + m[8] * dz
        u = column + 0.5
        a, b, c = a0 + u * da, b0 + u * db, c0 + u * dc
        z_depth = 1 / (a + b + c)
        fa, fb, fc = np.float32(a * z_depth), np.float32(b * z_depth), np.float32(c * z_depth)
        at_uv[0, column] = fa * uv[f, 0, 0] + fb * uv[f, 1, 0] + fc * uv[f, 2, 0]
        at_uv[1, column] = fa * uv[f, 0, 1] + fb * uv[f, 1, 1] + fc * uv[f, 2, 1]
        normal[0, column] = fa * normals[f, 0, 0] + fb * normals[f, 1, 0] + fc * normals[f, 2, 0]
        normal[1, column] = fa * normals[f, 0, 1] + fb * normals[f, 1, 1] + fc * normals[f, 2, 1]
        normal[2, column] = fa * normals[f, 0, 2] + fb * normals[f, 1, 2] + fc * normals[f, 2, 2]
        depth[column] = z_depth
        texels_a_metre[column] = density[f]
