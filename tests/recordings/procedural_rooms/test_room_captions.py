"""What captions say of a room, against what the room was built of."""

import colorsys
from dataclasses import replace

import numpy as np
import pytest

from anchorweave.models.small.tiny import TEXT_TOKENS, tiny_tokenizer
from anchorweave.recordings import open_recording
from anchorweave.recordings.procedural_rooms.room_captions import TOKENS, colour_name, room_caption
from anchorweave.recordings.procedural_rooms.rooms import PATTERNS, furnished_room

# Of the kinds of walls and floors, and of all furniture that a caption may name.
EVERYTHING = [
    ("bricks", 0),
    ("wallpaper", 1),
    ("wallpaper", 2),
    ("plaster", 3),
    ("planks", 4),
    *[(name, 5) for name in ("sofa", "bed", "rug", "bookshelf", "plant", "floor_lamp")],
    *[(name, 5) for name in ("cabinet", "window", "door", "chair", "table", "painting")],
]
RED, GREEN, BLUE, PURPLE, WHITE, BROWN = (
    (0.8, 0.2, 0.2),
    (0.3, 0.6, 0.3),
    (0.3, 0.4, 0.8),
    (0.5, 0.2, 0.6),
    (0.9, 0.9, 0.9),
    (0.5, 0.35, 0.2),
)


@pytest.fixture(scope="module")
def room():
    return furnished_room(3)


def made_of(room, contents, *colours):
    textures = np.broadcast_to(np.array(colours)[:, None, None], (len(colours), 2, 2, 3))
    return replace(room, contents=tuple(contents), textures=textures)


def test_walls_floor_and_furniture_are_named_with_their_colours(room):
    colours = (RED, GREEN, BLUE, WHITE, BROWN, RED)
    assert room_caption(made_of(room, EVERYTHING[:8], *colours)) == (
        "a room with brick, green, blue and white walls, a brown wooden floor, a red sofa, "
        "a red bed, a red rug"
    )
    tiled = [*EVERYTHING[:4], ("tiles", 4), ("plant", 0), ("door", 0), ("floor_lamp", 0)]
    assert room_caption(made_of(room, tiled, BROWN, RED, RED, WHITE, BLUE)) == (
        "a room with brick, red and white walls, a blue tiled floor, plants, a lamp, a door"
    )


def test_the_first_of_its_kind_gives_the_colour(room):
    contents = [*EVERYTHING[:5], ("sofa", 1), ("sofa", 2)]
    colours = (RED, GREEN, BLUE, WHITE, BROWN)
    assert room_caption(made_of(room, contents, *colours)).endswith("floor, a green sofa")


@pytest.mark.parametrize("colour", [RED, PURPLE])
def test_it_is_never_longer_than_the_tiny_encoder_reads(room, colour):
    caption = room_caption(made_of(room, EVERYTHING, RED, GREEN, colour, BLUE, WHITE, colour))
    tokens = tiny_tokenizer()(caption).input_ids
    # What does not fit is left out, and little of the place is.
    assert TEXT_TOKENS - 7 <= len(tokens) <= TEXT_TOKENS == TOKENS + 1
    assert tiny_tokenizer().unk_token_id not in tokens
    assert "floor" in caption and ("purple" in caption) == (colour == PURPLE)


@pytest.mark.parametrize(
    ("colour", "name"),
    [
        (RED, "red"),
        (GREEN, "green"),
        (BLUE, "blue"),
        (PURPLE, "purple"),
        (WHITE, "white"),
        (BROWN, "brown"),
        ((0.9, 0.8, 0.2), "yellow"),
        ((0.1, 0.1, 0.1), "black"),
        ((0.5, 0.5, 0.5), "grey"),
        (colorsys.hsv_to_rgb(0.99, 0.6, 0.7), "red"),
    ],
)
def test_colours(colour, name):
    assert colour_name(np.array(colour)) == name


def test_a_real_room_is_described_the_same_each_time(room):
    furnished_room.cache_clear()
    caption = open_recording("procedural:seed=3,frames=1,size=4x6").caption()
    assert caption == room_caption(room)
    assert caption.startswith("a room with brick, blue, green and purple walls")
    assert caption != room_caption(furnished_room(4))


def test_contents_name_what_was_built(room):
    kinds = [kind for kind, (_, count) in PATTERNS.items() for _ in range(count)]
    kinds += ["wall"] * 4 + ["floor"]
    expected = {"sofa": "fabric", "bed": "fabric", "chair": "fabric", "floor_lamp": "fabric"}
    expected |= {"bookshelf": "wood", "cabinet": "wood", "table": "wood", "plant": "ceramic"}
    expected |= {"rug": "rug", "door": "door", "window": "outdoors", "painting": "painting"}
    assert sorted(name for name, _ in room.contents[:4]) == [
        "bricks",
        "plaster",
        "wallpaper",
        "wallpaper",
    ]
    assert [kinds[index] for _, index in room.contents[:5]] == ["wall"] * 4 + ["floor"]
    names = [name for name, _ in room.contents[5:]]
    assert names.count("door") == names.count("rug") == 1 and {"plant", "chair"} <= set(names)
    used = np.concatenate(room.surfaces.materials)
    for name, index in room.contents[5:]:
        assert kinds[index] == expected[name] and index in used, name
