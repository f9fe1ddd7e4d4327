"""Captions of procedural rooms: furniture and colours."""

from __future__ import annotations

import colorsys

import numpy as np
from jaxtyping import Float

from anchorweave.recordings.procedural_rooms.rooms import Room

# One less than the tiny text encoder's length, because of the end token.
TOKENS = 31
FLOORS = {"planks": "wooden", "tiles": "tiled"}
# Mentioned with colour, then without, in this order while tokens remain.
COLOURED = ("sofa", "bed", "rug")
PLAIN = {
    "bookshelf": "books",
    "plant": "plants",
    "floor_lamp": "a lamp",
    "cabinet": "a cabinet",
    "window": "a window",
    "door": "a door",
}
# The only word below that the tiny tokenizer splits into letters, unless it has learned it.
SPELLED = "purple"
# Upper hue (full circle = 1) of each colour name.
HUES = {0.03: "red", 0.11: "brown", 0.19: "yellow", 0.45: "green", 0.7: "blue", 0.85: SPELLED}


def room_caption(room: Room) -> str:
    """A room's walls in order, its floor, and as much furniture as fits.

    Fits the 32 tokens of the tiny text encoder, whose vocabulary has nearly all of its words.
    """
    walls, floor = room.contents[:4], room.contents[4]
    clauses = [
        _walls([_wall(room, *wall) for wall in walls]),
        f"a {_colour(room, floor[1])} {FLOORS[floor[0]]} floor",
    ]
    pieces = dict(reversed(room.contents[5:]))
    clauses += [f"a {_colour(room, pieces[name])} {name}" for name in COLOURED if name in pieces]
    clauses += [words for name, words in PLAIN.items() if name in pieces]
    caption = ""
    for clause in clauses:
        longer = f"{caption}, {clause}" if caption else f"a room with {clause}"
        if _tokens(longer) <= TOKENS:
            caption = longer
    return caption


def colour_name(colour: Float[np.ndarray, "3"]) -> str:
    """The plain English name of an RGB colour [3] in [0, 1]."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(float(part) for part in colour))
    if value < 0.2:
        return "black"
    if saturation < 0.12:
        return "white" if value > 0.75 else "grey"
    return next((name for end, name in HUES.items() if hue < end), "red")


def _colour(room: Room, texture: int) -> str:
    return colour_name(room.textures[texture].mean(axis=(0, 1)))


def _wall(room: Room, pattern: str, texture: int) -> str:
    return "brick" if pattern == "bricks" else _colour(room, texture)


def _walls(names: list[str]) -> str:
    *others, last = dict.fromkeys(names)
    return f"{', '.join(others)} and {last} walls"


def _tokens(caption: str) -> int:
    words = caption.replace(",", " ,").split()
    return len(words) + len(SPELLED) * words.count(SPELLED)
