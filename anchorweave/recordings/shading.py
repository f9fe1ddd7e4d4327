"""Colours of what a view of a room shows: texture, lamp with shadow, windows, ambient light.

All light is diffuse, so a point looks the same from everywhere, as photo-consistency assumes.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import no_type_check

import numpy as np
from einops import reduce
from jaxtyping import Float, Int32
from numba import njit

from anchorweave.recordings.rasterizing import COMPILED, NOTHING, View, inverse_corners
from anchorweave.recordings.rooms import Room
from anchorweave.recordings.shadows import is_blocked, lamp_maps

# Shares of light; the lamp's falls off with distance and is cut by shadows.
AMBIENT, UPWARD, LAMP = 0.42, 0.12, 0.75
LAMP_FALL_OFF = 0.05
# Four points on the lamp, one for each sample of a pixel, soften the shadows' edges.
LAMP_CORNERS = 0.12 * np.array([[1, 1, 0], [-1, 1, 0], [1, -1, 0], [-1, -1, 0]])
GAMMA = 2.2
# A broad stain over every repeat keeps tiled patterns from looking alike in two places.
STAIN = 0.16
STAIN_WAVES = np.array([[2.0, 0.6], [0.8, 2.0], [1.6, 1.8]])
# In metres; light is looked for so far before a surface.
LIFT = 2e-3
# Samples along an edge of a pixel.
SAMPLES = 2


class Shader:
    """Colours views of one room.

    Args:
        room: triangles and textures.
        corners: of its triangles [F, 3, 3], float32.
    """

    def __init__(self, room: Room, corners: Float[np.ndarray, "F 3 3"]):
        surfaces = room.surfaces
        self._corners = corners
        self._normals = np.concatenate(surfaces.normals).astype(np.float32)
        self._uv = np.concatenate(surfaces.uv).astype(np.float32)
        used, material = np.unique(np.concatenate(surfaces.materials), return_inverse=True)
        self._material = material.astype(np.int32)
        self._glowing = room.glowing[used]
        self._texels_a_metre = _texel_density(corners, self._uv, room.textures.shape[1])
        self._textures = room.textures, used
        self._lamp = (room.lamp + LAMP_CORNERS).astype(np.float32)

    @cached_property
    def _pyramid(self) -> tuple[np.ndarray, np.ndarray]:
        """All levels of detail of the textures in use, one after another, and where each starts."""
        textures, used = self._textures
        levels = [textures[used]]
        while levels[-1].shape[1] > 1:
            levels.append(reduce(levels[-1], "M (v a) (u b) C -> M v u C", "mean", a=2, b=2))
        starts = np.cumsum([0, *(level.shape[1] ** 2 for level in levels[:-1])])
        flat = [level.reshape(len(used), -1, 3) for level in levels]
        return np.concatenate(flat, axis=1), starts

    @cached_property
    def _maps(self) -> np.ndarray:
        return lamp_maps(self._corners, self._lamp)

    def colours(
        self, view: View, triangles: Int32[np.ndarray, "H2 W2"], pixel: float
    ) -> Float[np.ndarray, "3 H W"]:
        """Colours [3, H, W] in [0, 1], float32, each the mean of its samples.

        Args:
            view: of the samples.
            triangles: what each of them shows.
            pixel: width of a pixel (not a sample) at depth 1.
        """
        out = np.zeros((3, view.size[0] // SAMPLES, view.size[1] // SAMPLES), np.float32)
        pyramid, starts = self._pyramid
        _shade(
            triangles, view.eye, view.rays, pixel,
            self._corners, self._normals, self._uv, self._material, self._texels_a_metre,
            pyramid, starts, self._glowing, self._lamp, self._maps, out,
        )  # fmt: skip
        return out


def _texel_density(
    corners: Float[np.ndarray, "F 3 3"], uv: Float[np.ndarray, "F 3 2"], side: int
) -> Float[np.ndarray, " F"]:
    """Texels per metre of every triangle, from its area in both spaces."""
    corners, uv = corners.astype(np.float64), uv.astype(np.float64)
    edges, uv_edges = corners[:, 1:] - corners[:, :1], uv[:, 1:] - uv[:, :1]
    area = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
    uv_area = np.abs(uv_edges[:, 0, 0] * uv_edges[:, 1, 1] - uv_edges[:, 0, 1] * uv_edges[:, 1, 0])
    return (side * np.sqrt(uv_area / area)).astype(np.float32)


@njit(**COMPILED)
@no_type_check
def _shade(
    triangles, eye, rays, pixel, corners, normals, uv, material, density,
    pyramid, starts, glowing, lamp, maps, out,
):  # fmt: skip
    share = np.float32(1 / SAMPLES**2)
    colour = np.empty(3, np.float32)
    for row in range(triangles.shape[0]):
        known = np.int64(NOTHING)
        m = inverse_corners(corners, 0, eye)
        for column in range(triangles.shape[1]):
            f = np.int64(triangles[row, column])
            if f == NOTHING:
                continue
            if f != known:
                known, m = f, inverse_corners(corners, f, eye)
            u, v = column + 0.5, row + 0.5
            dx = rays[0, 0] + u * rays[1, 0] + v * rays[2, 0]
            dy = rays[0, 1] + u * rays[1, 1] + v * rays[2, 1]
            dz = rays[0, 2] + u * rays[1, 2] + v * rays[2, 2]
            a = m[0] * dx + m[1] * dy + m[2] * dz
            b = m[3] * dx + m[4] * dy + m[5] * dz
            c = m[6] * dx + m[7] * dy + m[8] * dz
            depth = 1 / (a + b + c)
            a, b, c = a * depth, b * depth, c * depth
            x, y, z = eye[0] + depth * dx, eye[1] + depth * dy, eye[2] + depth * dz
            nx = a * normals[f, 0, 0] + b * normals[f, 1, 0] + c * normals[f, 2, 0]
            ny = a * normals[f, 0, 1] + b * normals[f, 1, 1] + c * normals[f, 2, 1]
            nz = a * normals[f, 0, 2] + b * normals[f, 1, 2] + c * normals[f, 2, 2]
            facing = -(nx * dx + ny * dy + nz * dz)
            length = math.sqrt(nx * nx + ny * ny + nz * nz)
            slant = abs(facing) / (length * math.sqrt(dx * dx + dy * dy + dz * dz))
            to_unit = (1 if facing >= 0 else -1) / length
            nx, ny, nz = nx * to_unit, ny * to_unit, nz * to_unit
            # A pixel covers more texels of a slanted surface; the root is between both axes.
            footprint = depth * pixel / math.sqrt(max(slant, 0.05))
            level = math.log2(max(footprint * density[f], 1e-6))
            tu = a * uv[f, 0, 0] + b * uv[f, 1, 0] + c * uv[f, 2, 0]
            tv = a * uv[f, 0, 1] + b * uv[f, 1, 1] + c * uv[f, 2, 1]
            _sample(pyramid[material[f]], starts, tu, tv, level, colour)
            light = 1.0
            if not glowing[material[f]]:
                corner = (row % SAMPLES) * SAMPLES + column % SAMPLES
                light = AMBIENT + UPWARD * nz
                tx, ty, tz = lamp[corner, 0] - x, lamp[corner, 1] - y, lamp[corner, 2] - z
                across = nx * tx + ny * ty + nz * tz
                if across > 0 and not is_blocked(
                    corners, maps[corner], lamp[corner], f,
                    x + LIFT * nx, y + LIFT * ny, z + LIFT * nz,
                ):  # fmt: skip
                    squared = tx * tx + ty * ty + tz * tz
                    light += LAMP * across / (math.sqrt(squared) * (1 + LAMP_FALL_OFF * squared))
                light = light ** (1 / GAMMA)
            wave = math.sin(x * STAIN_WAVES[0, 0] + y * STAIN_WAVES[1, 0] + z * STAIN_WAVES[2, 0])
            wave *= math.sin(x * STAIN_WAVES[0, 1] + y * STAIN_WAVES[1, 1] + z * STAIN_WAVES[2, 1])
            # Light counts before gamma, which is why its own is undone and the colour's is not.
            tone = np.float32(light * (1 + STAIN * wave))
            for channel in range(3):
                shown = min(colour[channel] * tone, np.float32(1))
                out[channel, row // SAMPLES, column // SAMPLES] += share * shown


@njit(**COMPILED)
@no_type_check
def _sample(texture, starts, u, v, level, colour):
    """The texture's colour, blended between the two levels of detail next to `level`."""
    level = min(max(level, 0), len(starts) - 1.001)
    fine = np.int64(level)
    coarse_share = np.float32(level - fine)
    colour[0] = colour[1] = colour[2] = 0
    _add_bilinear(
        texture, starts[fine], 1 << (len(starts) - 1 - fine), u, v, 1 - coarse_share, colour
    )
    if coarse_share > 0:
        fine += 1
        _add_bilinear(
            texture, starts[fine], 1 << (len(starts) - 1 - fine), u, v, coarse_share, colour
        )


@njit(**COMPILED)
@no_type_check
def _add_bilinear(texture, start, side, u, v, share, colour):
    u, v = u * side - 0.5, v * side - 0.5
    low_u, low_v = math.floor(u), math.floor(v)
    fu, fv = np.float32(u - low_u), np.float32(v - low_v)
    # Sides are powers of two, so that this is the remainder, of negative numbers too.
    u0, v0 = np.int64(low_u) & (side - 1), np.int64(low_v) & (side - 1)
    u1, v1 = (u0 + 1) & (side - 1), (v0 + 1) & (side - 1)
    upper, lower = start + v0 * side, start + v1 * side
    one = np.float32(1)
    w11, w10 = fv * fu * share, fv * (one - fu) * share
    w01, w00 = (one - fv) * fu * share, (one - fv) * (one - fu) * share
    for c in range(3):
        colour[c] += (
            w00 * texture[upper + u0, c] + w01 * texture[upper + u1, c]
            + w10 * texture[lower + u0, c] + w11 * texture[lower + u1, c]
        )  # fmt: skip
