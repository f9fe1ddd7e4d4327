"""Procedural surface patterns: colours [S, S, 3] in [0, 1], from a random seed.

They tile seamlessly, except those documented as used once.
"""

from __future__ import annotations

import colorsys
from functools import lru_cache

import numpy as np
from numpy.random import Generator

SIDE = 256
V, U = np.meshgrid(np.arange(SIDE) / SIDE, np.arange(SIDE) / SIDE, indexing="ij")


def colour(rng: Generator, saturation=(0.2, 0.6), value=(0.4, 0.85), hue=(0.0, 1.0)) -> np.ndarray:
    """A random colour [3] of bounded hue, saturation and value."""
    return np.array(
        colorsys.hsv_to_rgb(*(rng.uniform(*bounds) for bounds in (hue, saturation, value)))
    )


def noise(rng: Generator, slope: float = 1.5, stretch: float = 1.0) -> np.ndarray:
    """Tileable noise [S, S] of unit standard deviation whose amplitude falls as frequency^-slope.

    Args:
        rng: source of the phases.
        slope: 0 is white, 2 is cloudy.
        stretch: above 1 stretches the noise along u.
    """
    spectrum = np.fft.fft2(rng.standard_normal((SIDE, SIDE))) / _fall_off(slope, stretch)
    spectrum[0, 0] = 0
    field = np.fft.ifft2(spectrum).real
    return field / field.std()


@lru_cache
def _fall_off(slope: float, stretch: float) -> np.ndarray:
    f = np.fft.fftfreq(SIDE) * SIDE
    radius = np.hypot(*np.meshgrid(f, f * stretch, indexing="ij"))
    return np.maximum(radius, 1) ** slope


def shade(base: np.ndarray, tone: np.ndarray) -> np.ndarray:
    """`base` [3] or [S, S, 3], lightened and darkened by the fraction `tone` [S, S]."""
    return np.clip(base * (1 + tone[..., None]), 0, 1)


def plaster(rng: Generator) -> np.ndarray:
    """A painted wall with stains and grain."""
    tone = 0.07 * noise(rng, 1.8) + 0.05 * noise(rng, 0.7)
    return shade(colour(rng, (0.1, 0.4), (0.65, 0.9)), tone)


def wallpaper(rng: Generator) -> np.ndarray:
    """Stripes with a motif between them."""
    stripes, motifs = rng.choice([4, 6, 8]), rng.choice([4, 8])
    first, second = colour(rng, (0.1, 0.4), (0.7, 0.9)), colour(rng, (0.3, 0.6), (0.4, 0.7))
    stripe = (np.sin(2 * np.pi * stripes * U) > 0.6)[..., None]
    cell_u, cell_v = (U * stripes) % 1 - 0.75, (V * motifs) % 1 - 0.5
    motif = (np.abs(cell_u) * 1.6 + np.abs(cell_v) < 0.22 + 0.1 * np.cos(8 * np.pi * cell_v))[
        ..., None
    ]
    paper = np.where(stripe, second, np.where(motif, 0.5 * (first + second) * 0.8, first))
    return shade(paper, 0.05 * noise(rng, 1.5) + 0.03 * noise(rng, 0.5))


def bricks(rng: Generator) -> np.ndarray:
    """Courses of bricks, each of its own tone, in mortar."""
    rows, columns = 12, 4
    row = np.floor(V * rows).astype(int)
    u = U * columns + 0.5 * (row % 2)
    column = np.floor(u).astype(int) % columns
    tone = rng.normal(0, 0.16, (rows, columns))[row, column]
    mortar = ((V * rows) % 1 < 0.1) | (u % 1 < 0.035)
    wall = shade(colour(rng, (0.4, 0.6), (0.5, 0.75), (0.01, 0.07)), tone + 0.1 * noise(rng, 0.8))
    joint = shade(np.array([0.72, 0.7, 0.66]), 0.1 * noise(rng, 0.8))
    return np.where(mortar[..., None], joint, wall)


def tiles(rng: Generator) -> np.ndarray:
    """A chequered floor of marbled tiles with grout."""
    count = 4
    row, column = np.floor(V * count).astype(int), np.floor(U * count).astype(int)
    dark = ((row + column) % 2).astype(bool)[..., None]
    tone = rng.normal(0, 0.08, (count, count))[row, column] + 0.09 * noise(rng, 1.4)
    first, second = colour(rng, (0.0, 0.2), (0.75, 0.9)), colour(rng, (0.1, 0.5), (0.3, 0.55))
    grout = ((V * count) % 1 < 0.03) | ((U * count) % 1 < 0.03)
    return np.where(grout[..., None], 0.4, shade(np.where(dark, second, first), tone))


def planks(rng: Generator) -> np.ndarray:
    """Floor boards along u, each of its own tone, with grain."""
    count = 8
    board = np.floor(V * count).astype(int)
    joint = rng.uniform(0, 1, count)[board]
    half = (((U - joint) % 1) > 0.5).astype(int)
    tone = rng.normal(0, 0.14, (count, 2))[board, half] + 0.16 * noise(rng, 1.0, stretch=14.0)
    gap = ((V * count) % 1 < 0.035) | ((((U - joint) % 0.5) * SIDE) < 1.5)
    base = colour(rng, (0.4, 0.65), (0.45, 0.75), (0.06, 0.1))
    return shade(base, np.where(gap, -0.6, tone))


def wood(rng: Generator) -> np.ndarray:
    """One board with rings and grain along u."""
    rings = np.sin(2 * np.pi * (5 * V + 0.35 * noise(rng, 2.2, stretch=5.0)))
    tone = 0.09 * rings + 0.14 * noise(rng, 0.9, stretch=20.0)
    return shade(colour(rng, (0.4, 0.75), (0.3, 0.75), (0.04, 0.1)), tone)


def fabric(rng: Generator) -> np.ndarray:
    """Woven cloth, plain, striped or plaid."""
    first, second = colour(rng, (0.2, 0.7), (0.35, 0.8)), colour(rng, (0.2, 0.7), (0.35, 0.85))
    kind, bands = rng.integers(3), rng.choice([3, 5, 8])
    across = (np.sin(2 * np.pi * bands * U) > 0.3) * (kind > 0)
    along = (np.sin(2 * np.pi * bands * V) > 0.3) * (kind == 2)
    share = (across * 0.5 + along * 0.5)[..., None]
    weave = np.sin(2 * np.pi * 64 * U) * np.sin(2 * np.pi * 64 * V)
    return shade(first * (1 - share) + second * share, 0.07 * weave + 0.09 * noise(rng, 1.0))


def foliage(rng: Generator) -> np.ndarray:
    """Leaves seen from afar."""
    spots = noise(rng, 0.9)
    return shade(colour(rng, (0.5, 0.8), (0.3, 0.6), (0.24, 0.38)), 0.3 * spots)


def ceramic(rng: Generator) -> np.ndarray:
    """A glazed surface with painted rings."""
    rings = np.sin(2 * np.pi * rng.choice([6, 10]) * V) > 0.5
    first, second = colour(rng, (0.1, 0.7), (0.5, 0.9)), colour(rng, (0.3, 0.8), (0.3, 0.8))
    return shade(np.where(rings[..., None], second, first), 0.06 * noise(rng, 1.2))


def rug(rng: Generator) -> np.ndarray:
    """A carpet with borders and a field of diamonds, used once per surface."""
    edge = np.minimum.reduce([U, 1 - U, V, 1 - V])
    palette = [colour(rng, (0.3, 0.8), (0.3, 0.8)) for _ in range(4)]
    diamonds = ((np.abs((U * 8) % 1 - 0.5) + np.abs((V * 8) % 1 - 0.5)) < 0.36)[..., None]
    medallion = (np.abs(U - 0.5) * 1.3 + np.abs(V - 0.5) < 0.24)[..., None]
    field = np.where(medallion, palette[3], np.where(diamonds, palette[1], palette[0]))
    ring = np.floor(edge * 40).astype(int)[..., None]
    border = np.where(ring % 2 == 0, palette[2], palette[3])
    return shade(np.where(ring < 4, border, field), 0.12 * noise(rng, 0.6))


def painting(rng: Generator) -> np.ndarray:
    """A framed picture, a landscape of bands or shapes; used once."""
    sky, ground = colour(rng, (0.2, 0.6), (0.6, 0.95)), colour(rng, (0.3, 0.8), (0.3, 0.7))
    horizon = rng.uniform(0.4, 0.65) + 0.06 * noise(rng, 2.5)[:1]
    canvas = np.where((V > horizon)[..., None], ground, sky * (0.7 + 0.5 * V[..., None]))
    for _ in range(rng.integers(5, 10)):
        u, v, r = rng.uniform(0.1, 0.9, 2).tolist() + [rng.uniform(0.04, 0.2)]
        inside = (
            np.maximum(np.abs(U - u), np.abs(V - v))
            if rng.random() < 0.4
            else np.hypot(U - u, V - v)
        )
        canvas = np.where((inside < r)[..., None], colour(rng, (0.3, 0.9), (0.3, 0.95)), canvas)
    canvas = shade(canvas, 0.1 * noise(rng, 1.0))
    edge = np.minimum.reduce([U, 1 - U, V, 1 - V])[..., None]
    frame = colour(rng, (0.3, 0.7), (0.2, 0.6), (0.05, 0.12))
    return np.where(edge < 0.05, frame, np.where(edge < 0.09, 0.92, canvas))


def books(rng: Generator) -> np.ndarray:
    """A row of book spines with titles; used once."""
    edges = np.sort(rng.uniform(0, 1, 13))
    book = np.searchsorted(edges, U)
    palette = np.stack([colour(rng, (0.3, 0.8), (0.25, 0.85)) for _ in range(14)])
    title = (np.abs(V - rng.uniform(0.25, 0.6, 14)[book]) < rng.uniform(0.02, 0.12, 14)[book])[
        ..., None
    ]
    spine = np.where(title, 1 - 0.6 * palette[book], palette[book])
    seam = np.isin(np.floor(U * SIDE), np.floor(edges * SIDE))
    return shade(spine, np.where(seam, -0.6, 0.06 * noise(rng, 0.8)))


def panels(rng: Generator) -> np.ndarray:
    """A door with four recessed panels; used once."""
    u, v = np.abs(U - 0.5), np.abs((V * 2) % 1 - 0.5)
    near = np.abs(np.maximum(np.abs(u - 0.235) / 0.165, v / 0.38) - 1) < 0.09
    tone = np.where(near, -0.35, 0) + 0.1 * noise(rng, 1.0, stretch=0.1)
    return shade(colour(rng, (0.3, 0.6), (0.4, 0.75), (0.05, 0.11)), tone)


def outdoors(rng: Generator) -> np.ndarray:
    """The view from a window: sky with clouds, hills, a meadow."""
    clouds = np.clip(0.5 + 0.5 * noise(rng, 1.8), 0, 1)[..., None]
    sky = (1 - clouds) * np.array([0.5, 0.72, 0.95]) + clouds * 0.97
    ridge = 0.55 + 0.05 * noise(rng, 2.2)[:1]
    hills = shade(np.array([0.35, 0.5, 0.33]), 0.22 * noise(rng, 1.0))
    meadow = shade(np.array([0.5, 0.66, 0.3]), 0.2 * noise(rng, 0.8))
    view = np.where(
        (V > ridge)[..., None], np.where((V > ridge + 0.15)[..., None], meadow, hills), sky
    )
    bars = (np.abs(U - 0.5) < 0.02) | (np.abs(V - 0.45) < 0.015)
    edge = np.minimum.reduce([U, 1 - U, V, 1 - V]) < 0.04
    return np.where((bars | edge)[..., None], 0.93, view)
