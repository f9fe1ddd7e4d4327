"""Colours of what a view of a room shows: texture, lamp with shadow, windows, ambient light.

All light is diffuse, so a point looks the same from everywhere, as photo-consistency assumes.
"""

from __future__ import annotations

from functools import cached_property
from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int32
from numba import njit
from numpy.polynomial import Polynomial

from anchorweave.recordings.rasterizing import COMPILED, NOTHING, View, inverse_corners
from anchorweave.recordings.rooms import Room
from anchorweave.recordings.shadows import find_directions, is_blocked, lamp_maps
from anchorweave.recordings.texture_pyramid import Pyramid, pyramid_of, textured

# Shares of light; the lamp's falls off with distance and is cut by shadows.
AMBIENT, UPWARD, LAMP = 0.42, 0.12, 0.75
LAMP_FALL_OFF = 0.05
# Four points on the lamp, one for each sample of a pixel, soften the shadows' edges.
LAMP_CORNERS = 0.12 * np.array([[1, 1, 0], [-1, 1, 0], [1, -1, 0], [-1, -1, 0]])
GAMMA = 2.2
# A broad stain over every repeat keeps tiled patterns from looking alike in two places.
STAIN = 0.16
STAIN_WAVES = np.array([[2.0, 0.6], [0.8, 2.0], [1.6, 1.8]], dtype=np.float32)
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
            view: of the samples.
            triangles: what each of them shows.
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
    """Texels per metre of every triangle, from its area in both spaces."""
    corners, uv = corners.astype(np.float64), uv.astype(np.float64)
    edges, uv_edges = corners[:, 1:] - corners[:, :1], uv[:, 1:] - uv[:, :1]
    area = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
    uv_area = np.abs(uv_edges[:, 0, 0] * uv_edges[:, 1, 1] - uv_edges[:, 0, 1] * uv_edges[:, 1, 0])
    return (side * np.sqrt(uv_area / area)).astype(np.float32)


def _fitted(function, low: float, high: float, degree: int) -> tuple[np.float32, ...]:
    """Coefficients of a polynomial that is `function` on low..high, the highest first."""
    at = (low + high) / 2 + (high - low) / 2 * np.cos(np.linspace(0, np.pi, 200))
    fit = Polynomial.fit(at, function(at), degree).convert()
    return tuple(np.float32(x) for x in fit.coef[::-1])


# In place of the library's functions, of which the compiler makes no SIMD code; all to 1e-4.
_BRIGHTNESS = _fitted(lambda x: x ** (1 / GAMMA), AMBIENT - UPWARD, AMBIENT + UPWARD + LAMP, 8)
_SINE = _fitted(lambda x: np.sin(2 * np.pi * x), -0.5, 0.5, 11)
_LOG2 = _fitted(np.log2, 1.0, 2.0, 6)


@njit(**COMPILED)
@no_type_check
def _shade(
    triangles, eye, rays, pixel, corners, normals, uv, material, density,
    texels, starts, glowing, lamp, maps, out,
):  # fmt: skip
    height, width = triangles.shape
    rows = np.zeros((14, width), np.float32)
    lamps = np.empty((3, width), np.float32)
    directions = np.empty((3, width), np.float32)
    lifted = np.empty((3, width), np.float32)
    at = np.empty(width, np.int32)
    nearest, right, below = maps.ravel(), np.uint64(1), np.uint64(maps.shape[3])
    share, lift = np.float32(1 / SAMPLES**2), np.float32(LIFT)
    for row in range(height):
        seen = triangles[row]
        for column in range(width):
            u, v = column + 0.5, row + 0.5
            corner = (row % SAMPLES) * SAMPLES + column % SAMPLES
            for axis in range(3):
                lamps[axis, column] = lamp[corner, axis]
                directions[axis, column] = rays[0, axis] + u * rays[1, axis] + v * rays[2, axis]
        _interpolate(seen, row + 0.5, eye, rays, corners, normals, uv, density, rows)
        _illuminate(eye.astype(np.float32), directions, lamps, pixel, len(starts) - 2, rows)
        x, y, z, direct, ambient = rows[5], rows[6], rows[7], rows[10], rows[11]
        for axis in range(3):
            for column in range(width):
                lifted[axis, column] = rows[5 + axis, column] + lift * rows[2 + axis, column]
        first = (row % SAMPLES) * SAMPLES
        find_directions(lifted, lamps, first, SAMPLES, maps.shape[3], at)
        for column in range(width):
            f = seen[column]
            if f == NOTHING:
                continue
            if glowing[material[f]]:
                ambient[column], direct[column] = 1, 0
            elif direct[column] > 0:
                start = np.uint64(at[column])
                a, b = nearest[start], nearest[start + right]
                c, d = nearest[start + below], nearest[start + below + right]
                # Where they all meet the point's own triangle, nothing is in the way.
                if (a != f or b != f or c != f or d != f) and is_blocked(
                    corners, a, b, c, d, f, lamps[:, column], lifted[:, column]
                ):
                    direct[column] = 0
        _tone(x, y, z, direct, ambient, rows[12])
        for column in range(width):
            f = seen[column]
            if f == NOTHING:
                continue
            tone, one = rows[12, column], np.float32(1)
            r, g, b = textured(
                texels, starts, material[f], rows[0, column], rows[1, column], rows[9, column]
            )
            i, j = row // SAMPLES, column // SAMPLES
            out[0, i, j] += share * min(r * tone, one)
            out[1, i, j] += share * min(g * tone, one)
            out[2, i, j] += share * min(b * tone, one)


@njit(**COMPILED)
@no_type_check
def _interpolate(seen, v, eye, rays, corners, normals, uv, density, rows):
    """Texture coordinates, normals, depth and texels a metre along a row of samples."""
    known = np.int32(NOTHING)
    a0, b0, c0, da, db, dc = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    x, y, z = rays[0, 0] + v * rays[2, 0], rays[0, 1] + v * rays[2, 1], rays[0, 2] + v * rays[2, 2]
    dx, dy, dz = rays[1, 0], rays[1, 1], rays[1, 2]
    for column in range(seen.size):
        if seen[column] == NOTHING:
            continue
        f = np.uint64(seen[column])
        if seen[column] != known:
            known, m = seen[column], inverse_corners(corners, f, eye)
            a0, da = m[0] * x + m[1] * y + m[2] * z, m[0] * dx + m[1] * dy + m[2] * dz
            b0, db = m[3] * x + m[4] * y + m[5] * z, m[3] * dx + m[4] * dy + m[5] * dz
            c0, dc = m[6] * x + m[7] * y + m[8] * z, m[6] * dx + m[7] * dy + m[8] * dz
        u = column + 0.5
        a, b, c = a0 + u * da, b0 + u * db, c0 + u * dc
        depth = 1 / (a + b + c)
        fa, fb, fc = np.float32(a * depth), np.float32(b * depth), np.float32(c * depth)
        rows[0, column] = fa * uv[f, 0, 0] + fb * uv[f, 1, 0] + fc * uv[f, 2, 0]
        rows[1, column] = fa * uv[f, 0, 1] + fb * uv[f, 1, 1] + fc * uv[f, 2, 1]
        rows[2, column] = fa * normals[f, 0, 0] + fb * normals[f, 1, 0] + fc * normals[f, 2, 0]
        rows[3, column] = fa * normals[f, 0, 1] + fb * normals[f, 1, 1] + fc * normals[f, 2, 1]
        rows[4, column] = fa * normals[f, 0, 2] + fb * normals[f, 1, 2] + fc * normals[f, 2, 2]
        rows[8, column] = depth
        rows[9, column] = density[f]


@njit(**COMPILED)
@no_type_check
def _illuminate(eye, directions, lamps, pixel, coarsest, rows):
    """Points, unit normals, levels of detail, lamp light (without shadow) and all other light."""
    # Nothing but arithmetic and choices in the loop, so that the compiler makes SIMD code of it.
    ex, ey, ez = eye[0], eye[1], eye[2]
    dxs, dys, dzs = directions[0], directions[1], directions[2]
    lx, ly, lz = lamps[0], lamps[1], lamps[2]
    nxs, nys, nzs = rows[2], rows[3], rows[4]
    xs, ys, zs, depths, levels = rows[5], rows[6], rows[7], rows[8], rows[9]
    direct, ambient, footprints = rows[10], rows[11], rows[13]
    one, zero = np.float32(1), np.float32(0)
    flattest, lamp, fall_off = np.float32(0.05), np.float32(LAMP), np.float32(LAMP_FALL_OFF)
    everywhere, upward = np.float32(AMBIENT), np.float32(UPWARD)
    for j in range(xs.size):
        dx, dy, dz, depth = dxs[j], dys[j], dzs[j], depths[j]
        nx, ny, nz = nxs[j], nys[j], nzs[j]
        x, y, z = ex + depth * dx, ey + depth * dy, ez + depth * dz
        xs[j], ys[j], zs[j] = x, y, z
        facing = -(nx * dx + ny * dy + nz * dz)
        to_unit = one / np.sqrt(nx * nx + ny * ny + nz * nz)
        slant = abs(facing) * to_unit / np.sqrt(dx * dx + dy * dy + dz * dz)
        to_unit = to_unit if facing >= zero else -to_unit
        nx, ny, nz = nx * to_unit, ny * to_unit, nz * to_unit
        nxs[j], nys[j], nzs[j] = nx, ny, nz
        # A pixel covers more texels of a slanted surface; the root is between both axes.
        slant = slant if slant > flattest else flattest
        footprints[j] = depth * pixel * levels[j] / np.sqrt(slant)
        tx, ty, tz = lx[j] - x, ly[j] - y, lz[j] - z
        squared = tx * tx + ty * ty + tz * tz
        across = (nx * tx + ny * ty + nz * tz) / np.sqrt(squared)
        across = across if across > zero else zero
        direct[j] = lamp * across / (one + fall_off * squared)
        ambient[j] = everywhere + upward * nz
    _log2(footprints, footprints.view(np.int32), np.float32(coarsest) - np.float32(1e-3), levels)


@njit(**COMPILED)
@no_type_check
def _log2(numbers, bits, highest, levels):
    """Logarithms between 0 and `highest` of positive numbers; `bits` are the same numbers' bits."""
    for j in range(bits.size):
        levels[j] = np.float32((bits[j] >> np.int32(23)) - np.int32(127))
        bits[j] = (bits[j] & np.int32(0x7FFFFF)) | np.int32(0x3F800000)
    for j in range(bits.size):
        level = levels[j] + _polynomial(_LOG2, numbers[j])
        level = level if level > np.float32(0) else np.float32(0)
        levels[j] = level if level < highest else highest


@njit(**COMPILED)
@no_type_check
def _tone(xs, ys, zs, direct, ambient, tones):
    """What albedo is multiplied by, after gamma: light and stain."""
    turn = np.float32(1 / (2 * np.pi))
    ax, ay, az = STAIN_WAVES[0, 0] * turn, STAIN_WAVES[1, 0] * turn, STAIN_WAVES[2, 0] * turn
    bx, by, bz = STAIN_WAVES[0, 1] * turn, STAIN_WAVES[1, 1] * turn, STAIN_WAVES[2, 1] * turn
    half, one, stain = np.float32(0.5), np.float32(1), np.float32(STAIN)
    for j in range(xs.size):
        first = xs[j] * ax + ys[j] * ay + zs[j] * az
        second = xs[j] * bx + ys[j] * by + zs[j] * bz
        first -= np.floor(first + half)
        second -= np.floor(second + half)
        wave = _polynomial(_SINE, first) * _polynomial(_SINE, second)
        # Only light is brought through gamma; the albedo would go there and back.
        tones[j] = (one + stain * wave) * _polynomial(_BRIGHTNESS, direct[j] + ambient[j])


@njit(**COMPILED, inline="always")
@no_type_check
def _polynomial(coefficients, x):
    value = coefficients[0]
    for coefficient in coefficients[1:]:
        value = value * x + coefficient
    return value
