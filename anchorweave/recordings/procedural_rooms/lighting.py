"""Lighting by a room's lamp and its surroundings, and the resulting tone of surfaces.

The kernels process rows of samples with only arithmetic and selects in their loops, so that the
compiler vectorises them.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit
from numpy.polynomial import Polynomial

from anchorweave.recordings.procedural_rooms.rasterizing import COMPILED

# Light fractions; the lamp's falls off with distance and is blocked by shadows.
AMBIENT, UPWARD, LAMP = 0.42, 0.12, 0.75
LAMP_FALL_OFF = 0.05
GAMMA = 2.2
# A broad stain over all repeats, so that tiled patterns do not look alike in two places.
STAIN = 0.16
STAIN_WAVES = np.array([[2.0, 0.6], [0.8, 2.0], [1.6, 1.8]], dtype=np.float32)


def _fitted(function, low: float, high: float, degree: int) -> tuple[np.float32, ...]:
    """Coefficients of a polynomial fit to `function` on low..high, highest degree first."""
    at = (low + high) / 2 + (high - low) / 2 * np.cos(np.linspace(0, np.pi, 200))
    fit = Polynomial.fit(at, function(at), degree).convert()
    return tuple(np.float32(x) for x in fit.coef[::-1])


# Replace library functions that the compiler does not vectorise; all accurate to 1e-4.
_BRIGHTNESS = _fitted(lambda x: x ** (1 / GAMMA), AMBIENT - UPWARD, AMBIENT + UPWARD + LAMP, 8)
_SINE = _fitted(lambda x: np.sin(2 * np.pi * x), -0.5, 0.5, 11)
_LOG2 = _fitted(np.log2, 1.0, 2.0, 6)


@njit(**COMPILED)
@no_type_check
def illuminate(eye, directions, lamps, pixel, depths, normals, footprints, points, direct, other):
    """Computes points, the lamp's light there (without shadow) and all other light.

    Args:
        eye: the viewpoint [3].
        directions: rays with z-depth 1 [3, W].
        lamps: the points of the lamp that light each sample [3, W].
        pixel: width of a pixel at depth 1.
        depths: along the rays [W].
        normals: [3, W]; in: of any length; out: normalised and facing the eye.
        footprints: in: texels per metre [W]; out: texels under a pixel.
        points: output: positions [3, W].
        direct: output: light of the lamp [W].
        other: output: ambient light [W].
    """
    ex, ey, ez = eye[0], eye[1], eye[2]
    dxs, dys, dzs = directions[0], directions[1], directions[2]
    lx, ly, lz = lamps[0], lamps[1], lamps[2]
    nxs, nys, nzs = normals[0], normals[1], normals[2]
    xs, ys, zs = points[0], points[1], points[2]
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
        # A pixel covers more texels of a slanted surface; the root averages both axes.
        slant = slant if slant > flattest else flattest
        footprints[j] = depth * pixel * footprints[j] / np.sqrt(slant)
        tx, ty, tz = lx[j] - x, ly[j] - y, lz[j] - z
        squared = tx * tx + ty * ty + tz * tz
        across = (nx * tx + ny * ty + nz * tz) / np.sqrt(squared)
        across = across if across > zero else zero
        direct[j] = lamp * across / (one + fall_off * squared)
        other[j] = everywhere + upward * nz


@njit(**COMPILED)
@no_type_check
def levels_of_detail(footprints, coarsest, levels):
    """Log2 [W] of the texels under a pixel, from 0 to just below `coarsest`.

    Overwrites the footprints with their mantissas.
    """
    highest, bits = np.float32(coarsest) - np.float32(1e-3), footprints.view(np.int32)
    for j in range(levels.size):
        levels[j] = np.float32((bits[j] >> np.int32(23)) - np.int32(127))
        bits[j] = (bits[j] & np.int32(0x7FFFFF)) | np.int32(0x3F800000)
    for j in range(levels.size):
        level = levels[j] + _polynomial(_LOG2, footprints[j])
        level = level if level > np.float32(0) else np.float32(0)
        levels[j] = level if level < highest else highest


@njit(**COMPILED)
@no_type_check
def tone(points, direct, other, tones):
    """Factor on the albedo at points [3, W], after gamma [W]: light and stain."""
    xs, ys, zs = points[0], points[1], points[2]
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
        # Only the light is gamma-encoded; the albedo would be decoded and encoded again.
        tones[j] = (one + stain * wave) * _polynomial(_BRIGHTNESS, direct[j] + other[j])


@njit(**COMPILED, inline="always")
@no_type_check
def _polynomial(coefficients, x):
    value = coefficients[0]
    for coefficient in coefficients[1:]:
        value = value * x + coefficient
    return value
