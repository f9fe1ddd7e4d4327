"""Pieces of furniture, each built from a few solids in its own frame.

A piece stands on z = 0 with its back along y = 0 and its front towards +y, centred at x = 0.
Sizes are in metres. Every function takes a random generator and the indices of the room's
materials, and returns the piece.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from numpy.random import Generator

from anchorweave.recordings.procedural_rooms.surfaces import Surfaces

Materials = Mapping[str, Sequence[int]]


@dataclass
class Piece:
    """Furniture with its footprint: `width` along x, `depth` along y; and its `height`."""

    surfaces: Surfaces
    width: float
    depth: float
    height: float


def pick(rng: Generator, materials: Materials, kind: str) -> int:
    """The index of a random material of one kind."""
    return int(rng.choice(materials[kind]))


def table(rng: Generator, materials: Materials) -> Piece:
    """A table with four legs and objects on it."""
    w, d, h = rng.uniform(1.0, 1.4), rng.uniform(0.7, 0.85), rng.uniform(0.7, 0.76)
    top, leg, s = pick(rng, materials, "wood"), pick(rng, materials, "wood"), Surfaces()
    s.box((-w / 2, 0, h - 0.04), (w / 2, d, h), top)
    for x in (-w / 2 + 0.08, w / 2 - 0.08):
        for y in (0.08, d - 0.08):
            if rng.random() < 0.5:
                s.cylinder((x, y, 0), 0.028, h - 0.04, leg, top_radius=0.04, repeat=0.3)
            else:
                s.box((x - 0.035, y - 0.035, 0), (x + 0.035, y + 0.035, h - 0.04), leg)
    vase(rng, materials, s, (rng.uniform(-0.1, 0.1) * w, d / 2, h))
    stack_of_books(rng, materials, s, (-0.3 * w, 0.45 * d, h))
    s.ellipsoid(
        (0.3 * w, 0.4 * d, h + 0.06), (0.14, 0.14, 0.06), pick(rng, materials, "ceramic"), 0.4
    )
    return Piece(s, w, d, h)


def chair(rng: Generator, materials: Materials) -> Piece:
    """A chair with slats; it faces +y."""
    w, seat, h = 0.44, 0.45, 0.95
    frame, cloth, s = pick(rng, materials, "wood"), pick(rng, materials, "fabric"), Surfaces()
    s.box((-w / 2, 0, seat - 0.05), (w / 2, w, seat), cloth, 0.6)
    for x in (-w / 2, w / 2 - 0.04):
        s.box((x, w - 0.04, 0), (x + 0.04, w, seat - 0.05), frame)
        s.box((x, 0, 0), (x + 0.04, 0.04, h), frame)
    for z in (0.56, 0.7, 0.84):
        s.box((-w / 2, 0.005, z), (w / 2, 0.03, z + 0.08), frame)
    return Piece(s, w, w, h)


def sofa(rng: Generator, materials: Materials) -> Piece:
    """A sofa with two cushions and a pillow."""
    w, d = rng.uniform(1.6, 1.9), 0.8
    cloth, accent, s = pick(rng, materials, "fabric"), pick(rng, materials, "fabric"), Surfaces()
    s.box((-w / 2, 0, 0.08), (w / 2, d, 0.3), cloth, 0.7)
    s.box((-w / 2, 0, 0.3), (w / 2, 0.2, 0.82), cloth, 0.7)
    for x in (-w / 2, w / 2 - 0.18):
        s.box((x, 0.1, 0.3), (x + 0.18, d, 0.58), cloth, 0.7)
    for x in (-w / 2 + 0.19, 0.01):
        s.box((x, 0.2, 0.3), (x + w / 2 - 0.2, d + 0.02, 0.44), cloth, 0.6)
    s.ellipsoid((0.28 * w, 0.33, 0.6), (0.21, 0.1, 0.18), accent, 0.5)
    s.ellipsoid((-0.26 * w, 0.33, 0.6), (0.2, 0.1, 0.18), pick(rng, materials, "fabric"), 0.5)
    for x in (-w / 2 + 0.06, w / 2 - 0.06):
        s.cylinder((x, d - 0.08, 0), 0.025, 0.08, materials["wood"][0])
    return Piece(s, w, d, 0.82)


def bookshelf(rng: Generator, materials: Materials) -> Piece:
    """Shelves with rows of books and a few ornaments."""
    w, d, h = rng.uniform(0.8, 1.1), 0.32, rng.uniform(1.6, 2.0)
    frame, s = pick(rng, materials, "wood"), Surfaces()
    for x in (-w / 2, w / 2 - 0.03):
        s.box((x, 0, 0), (x + 0.03, d, h), frame)
    s.box((-w / 2, 0, 0), (w / 2, 0.015, h), frame)
    shelves = 5
    for i in range(shelves + 1):
        z = i * (h - 0.03) / shelves
        s.box((-w / 2, 0, z), (w / 2, d, z + 0.03), frame)
        if i == shelves:
            break
        x = -w / 2 + 0.04
        while x < w / 2 - 0.2:
            length = min(rng.uniform(0.15, 0.4), w / 2 - 0.04 - x)
            room = (h - 0.03) / shelves - 0.05
            if rng.random() < 0.25:
                vase(rng, materials, s, (x + 0.1, d / 2, z + 0.03), scale=room / 0.4)
                length = 0.2
            else:
                spines, tall = pick(rng, materials, "books"), rng.uniform(0.65, 0.95) * room
                s.box(
                    (x, 0.05, z + 0.03),
                    (x + length, d - 0.05, z + 0.03 + tall),
                    frame,
                    front=spines,
                )
            x += length + rng.uniform(0.0, 0.05)
    return Piece(s, w, d, h)


def cabinet(rng: Generator, materials: Materials) -> Piece:
    """A chest of drawers with knobs, a plant or books on top."""
    w, d, h = rng.uniform(0.9, 1.3), 0.45, rng.uniform(0.75, 0.95)
    body, drawer, s = pick(rng, materials, "wood"), pick(rng, materials, "wood"), Surfaces()
    s.box((-w / 2, 0, 0.06), (w / 2, d, h), body)
    columns, rows = 2, 3
    for i in range(columns):
        for j in range(rows):
            x0, z0 = -w / 2 + i * w / columns + 0.025, 0.06 + j * (h - 0.1) / rows + 0.025
            x1, z1 = x0 + w / columns - 0.05, z0 + (h - 0.1) / rows - 0.04
            s.box((x0, d, z0), (x1, d + 0.02, z1), drawer, 0.7)
            s.ellipsoid(
                ((x0 + x1) / 2, d + 0.035, (z0 + z1) / 2), (0.02,) * 3, materials["ceramic"][0]
            )
    vase(rng, materials, s, (-0.28 * w, d / 2, h), scale=1.3)
    stack_of_books(rng, materials, s, (0.2 * w, d / 2, h))
    return Piece(s, w, d + 0.05, h + 0.45)


def bed(rng: Generator, materials: Materials) -> Piece:
    """A bed along the wall with a blanket and a pillow."""
    w, d = 1.95, 0.95
    frame, sheet, s = pick(rng, materials, "wood"), pick(rng, materials, "fabric"), Surfaces()
    s.box((-w / 2, 0, 0.12), (w / 2, d, 0.32), frame)
    s.box((-w / 2 - 0.04, 0, 0), (-w / 2, d, 0.85), frame)
    s.box((-w / 2 + 0.01, 0.01, 0.32), (w / 2 - 0.01, d - 0.01, 0.48), materials["ceramic"][1], 0.9)
    s.box((-w / 2 + 0.6, 0, 0.3), (w / 2, d + 0.015, 0.51), sheet, 0.9)
    s.ellipsoid((-w / 2 + 0.3, d / 2, 0.53), (0.2, 0.34, 0.09), pick(rng, materials, "fabric"), 0.5)
    return Piece(s, w + 0.08, d + 0.02, 0.85)


def floor_lamp(rng: Generator, materials: Materials) -> Piece:
    """A lamp on a pole."""
    h, s = rng.uniform(1.45, 1.7), Surfaces()
    s.cylinder((0, 0.22, 0), 0.15, 0.03, materials["wood"][1])
    s.cylinder((0, 0.22, 0.03), 0.015, h, materials["wood"][1])
    s.cylinder((0, 0.22, h - 0.15), 0.2, 0.3, pick(rng, materials, "fabric"), 0.12, repeat=0.4)
    return Piece(s, 0.44, 0.44, h + 0.15)


def plant(rng: Generator, materials: Materials) -> Piece:
    """A potted plant of many leaves."""
    s, h = Surfaces(), rng.uniform(0.9, 1.4)
    s.cylinder(
        (0, 0.27, 0), 0.13, 0.3, pick(rng, materials, "ceramic"), top_radius=0.18, repeat=0.5
    )
    s.cylinder((0, 0.27, 0.3), 0.025, h - 0.4, materials["wood"][0], repeat=0.3)
    for _ in range(14):
        x, y = rng.uniform(-0.16, 0.16, 2)
        centre = (x, 0.27 + y * 0.8, rng.uniform(0.5 * h, h))
        s.ellipsoid(centre, rng.uniform(0.05, 0.13, 3), pick(rng, materials, "foliage"), 0.3)
    return Piece(s, 0.56, 0.54, h + 0.1)


def vase(rng: Generator, materials: Materials, s: Surfaces, at, scale: float = 1.0) -> None:
    """Adds a vase with a bunch of leaves to `s` at the point `at`, about 0.35 m high."""
    x, y, z = at
    r, glaze = 0.06 * scale, pick(rng, materials, "ceramic")
    s.ellipsoid((x, y, z + 1.4 * r), (r, r, 1.4 * r), glaze, 0.35)
    s.cylinder((x, y, z + 2.4 * r), 0.4 * r, 0.8 * r, glaze, top_radius=0.6 * r, repeat=0.35)
    for _ in range(5):
        dx, dy = rng.uniform(-0.6, 0.6, 2) * r
        radii = rng.uniform(0.35, 0.6, 3) * r
        s.ellipsoid(
            (x + dx, y + dy, z + rng.uniform(3.6, 5.0) * r),
            radii,
            pick(rng, materials, "foliage"),
            0.2,
        )


def stack_of_books(rng: Generator, materials: Materials, s: Surfaces, at) -> None:
    """Adds a small stack of books to `s` at the point `at`."""
    x, y, z = at
    for _ in range(rng.integers(2, 5)):
        w, d, h = rng.uniform(0.09, 0.12), rng.uniform(0.07, 0.09), rng.uniform(0.02, 0.045)
        s.box((x - w, y - d, z), (x + w, y + d, z + h), pick(rng, materials, "fabric"), 0.5)
        z += h


ALONG_WALLS: tuple[Callable[[Generator, Materials], Piece], ...] = (
    sofa, bookshelf, cabinet, bed, floor_lamp, plant, table, bookshelf, cabinet, plant, chair,
)  # fmt: skip
