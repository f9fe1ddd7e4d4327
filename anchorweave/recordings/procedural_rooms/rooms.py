"""A furnished room generated from a seed: walls, door, windows, pictures, a rug and furniture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.random import Generator

from anchorweave.recordings.procedural_rooms import furniture, photographs, textures
from anchorweave.recordings.procedural_rooms.surfaces import Surfaces

# Each kind of surface: its pattern, and the number of variants in a room.
PATTERNS = {
    "wood": (textures.wood, 5),
    "fabric": (textures.fabric, 6),
    "ceramic": (textures.ceramic, 4),
    "foliage": (textures.foliage, 2),
    "books": (textures.books, 6),
    "painting": (textures.painting, 6),
    "outdoors": (textures.outdoors, 2),
    "rug": (textures.rug, 1),
    "door": (textures.panels, 1),
    "ceiling": (textures.plaster, 1),
}
WALLS = (textures.wallpaper, textures.bricks, textures.plaster, textures.wallpaper)
FLOORS = (textures.planks, textures.tiles)
# Patterns that replace those of the same name in rooms with photographs.
PHOTOGRAPHED = {
    textures.painting: photographs.picture,
    textures.foliage: photographs.foliage,
    textures.bricks: photographs.bricks,
    textures.tiles: photographs.tiles,
}
# Furniture that shows more fabric than frame.
COVERED = (furniture.sofa, furniture.bed, furniture.chair, furniture.floor_lamp)
CORNER = 0.1


@dataclass(frozen=True)
class Room:
    """A room as triangles.

    Args:
        surfaces: its triangles, metres, z up, floor at z = 0, one corner at the origin.
        textures: [M, S, S, 3] in [0, 1].
        glowing: [M], True for emissive textures (windows).
        extent: length along x, y and z.
        lamp: position of the light.
        contents: names of the patterns (walls, floor, rug) and furniture in it, each with the index
            of the texture that defines its colour.
    """

    surfaces: Surfaces
    textures: np.ndarray
    glowing: np.ndarray
    extent: tuple[float, float, float]
    lamp: np.ndarray
    contents: tuple[tuple[str, int], ...]


@lru_cache(maxsize=2)
def furnished_room(seed: int, photos: bool = False) -> Room:
    """Generates the room of `seed`, identically on every machine.

    Args:
        seed: random seed.
        photos: whether pictures, bricks, tiles and leaves use photographs.
    """
    rng = np.random.default_rng(seed)
    # A separate generator, so that photographs do not change anything else.
    photo_rng = np.random.default_rng([seed, 2])

    def paint(pattern) -> np.ndarray:
        made = pattern(rng)
        photographed = PHOTOGRAPHED.get(pattern) if photos else None
        return made if photographed is None else photographed(photo_rng)

    extent = (rng.uniform(4.6, 6.0), rng.uniform(4.2, 5.2), rng.uniform(2.5, 2.8))
    images, materials = [], {}
    for kind, (pattern, count) in PATTERNS.items():
        materials[kind] = range(len(images), len(images) + count)
        images += [paint(pattern) for _ in range(count)]
    materials["wall"] = range(len(images), len(images) + 4)
    shell = [WALLS[i] for i in rng.permutation(4)]
    images += [paint(pattern) for pattern in shell]
    materials["floor"] = [len(images)]
    shell.append(FLOORS[rng.integers(len(FLOORS))])
    images.append(paint(shell[-1]))
    contents = [
        (pattern.__name__, index)
        for pattern, index in zip(shell, [*materials["wall"], *materials["floor"]], strict=True)
    ]
    room = Surfaces()
    _shell(room, extent, materials)
    door_wall = int(rng.integers(4))
    for wall in range(4):
        has_door = wall == door_wall
        contents += _furnish_wall(rng, room, extent, materials, wall, has_door)
    contents += _furnish_centre(rng, room, extent, materials)
    glowing = np.isin(np.arange(len(images)), list(materials["outdoors"]))
    lamp = np.array([extent[0] * 0.5, extent[1] * 0.5, extent[2] - 0.35])
    room.cylinder(lamp + [0, 0, 0.1], 0.22, 0.2, materials["fabric"][0], top_radius=0.1, repeat=0.4)
    pixels = np.stack(images).astype(np.float32)
    return Room(room, pixels, glowing, extent, lamp, tuple(contents))


def _shell(room: Surfaces, extent, materials) -> None:
    x, y, z = extent
    corners = [(0, 0, z), (x, 0, z), (x, y, z), (0, y, z)]
    for wall, corner in enumerate(corners):
        # Seen from the inside, a wall runs to the left of its corner.
        following = np.array(corners[(wall + 1) % 4])
        room.sheet(
            following, np.array(corner) - following, (0, 0, -z), materials["wall"][wall], 1.3
        )
        # A skirting board, about 1 cm in front of the wall.
        foot = following + 0.012 * _inward(wall) - [0, 0, z - 0.1]
        room.sheet(foot, np.array(corner) - following, (0, 0, -0.1), materials["wood"][0], 0.9)
    room.sheet((0, 0, 0), (x, 0, 0), (0, y, 0), materials["floor"][0], 1.6)
    room.sheet((0, y, z), (x, 0, 0), (0, -y, 0), materials["ceiling"][0], 2.5)


def _furnish_wall(
    rng: Generator, room: Surfaces, extent, materials, wall: int, has_door: bool
) -> list[tuple[str, int]]:
    """Fills one wall from left to right with furniture, and the space above with pictures.

    Pieces are placed with their back to the wall and rotated with it by quarter turns.

    Returns:
        The placed pieces, in the format of `Room.contents`.
    """
    x, y, z = extent
    length = (x, y)[wall % 2]
    origin = np.array([(0, 0, 0), (x, 0, 0), (x, y, 0), (0, y, 0)][wall], dtype=float)
    along = np.array([(1, 0, 0), (0, 1, 0), (-1, 0, 0), (0, -1, 0)][wall], dtype=float)
    # The first stretch is taken by the furniture of the previous wall.
    cursor, window_done, placed = 1.05, False, []
    order = [furniture.ALONG_WALLS[i] for i in rng.permutation(len(furniture.ALONG_WALLS))]
    if has_door:
        cursor += 0.05
        _hang(room, origin + along * (cursor + 0.45), wall, 0.9, 0.0, 2.05, materials["door"][0])
        cursor += 1.05
        placed.append(("door", materials["door"][0]))
    for build in order:
        piece = build(rng, materials)
        if cursor + piece.width > length - CORNER:
            continue
        middle = origin + along * (cursor + piece.width / 2)
        room.place(piece.surfaces, middle + 0.03 * _inward(wall), wall)
        placed.append(_named(build, piece, materials))
        if piece.height < 1.25:
            low = max(piece.height + 0.2, 1.15)
            if not window_done and wall % 2 == 0:
                w, window_done, texture = 1.2, True, furniture.pick(rng, materials, "outdoors")
            else:
                w, texture = (
                    min(rng.uniform(0.45, 0.8), piece.width),
                    furniture.pick(rng, materials, "painting"),
                )
            _hang(room, middle, wall, w, low, min(low + rng.uniform(0.7, 0.95), z - 0.2), texture)
            placed.append(("window" if texture in materials["outdoors"] else "painting", texture))
        cursor += piece.width + rng.uniform(0.08, 0.3)
    return placed


def _named(build, piece: furniture.Piece, materials) -> tuple[str, int]:
    """A piece's entry in `Room.contents`: its colour is that of its fabric, or else of its body."""
    used = [int(indices[0]) for indices in piece.surfaces.materials]
    if build in COVERED:
        used = [index for index in used if index in materials["fabric"]]
    return build.__name__, used[0]


def _inward(wall: int) -> np.ndarray:
    return np.array([(0, 1, 0), (-1, 0, 0), (0, -1, 0), (1, 0, 0)][wall], dtype=float)


def _hang(
    room: Surfaces, middle, wall: int, width: float, low: float, high: float, texture: int
) -> None:
    board = Surfaces()
    # 3 cm thick, with the picture on its front and plain wood around.
    board.box((-width / 2, 0, low), (width / 2, 0.03, high), 0, front=texture)
    room.place(board, middle, wall)


def _furnish_centre(rng: Generator, room: Surfaces, extent, materials) -> list[tuple[str, int]]:
    x, y, _ = extent
    middle = np.array([x / 2 + rng.uniform(-0.3, 0.3), y / 2 + rng.uniform(-0.2, 0.2), 0])
    room.sheet(middle + [-1.2, -0.85, 0.008], (2.4, 0, 0), (0, 1.7, 0), materials["rug"][0], None)
    desk = furniture.table(rng, materials)
    room.place(desk.surfaces, middle - [0, desk.depth / 2, 0])
    seat = furniture.chair(rng, materials)
    for side in (-1, 1):
        at = middle + [side * rng.uniform(0.0, 0.25), side * (desk.depth / 2 + 0.42), 0]
        room.place(seat.surfaces, at, 2 if side > 0 else 0)
    return [
        ("rug", materials["rug"][0]),
        _named(furniture.table, desk, materials),
        *2 * [_named(furniture.chair, seat, materials)],
    ]
