"""Recordings of furnished rooms generated from a seed: exact depth, any trajectory.

Colours come from procedural textures, and from photographs only on request.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.geometry.cameras import Cameras, intrinsics
from anchorweave.recordings.base import Recording
from anchorweave.recordings.procedural_rooms.reconstruction_errors import (
    LIKE_KITCHEN,
    ErroneousRecording,
)
from anchorweave.recordings.procedural_rooms.room_captions import room_caption
from anchorweave.recordings.procedural_rooms.room_renderer import room_renderer
from anchorweave.recordings.procedural_rooms.walks import FRAMES_A_LAP, free_walk

PREFIX = "procedural"
DEFAULT_SIZE = (128, 192)
DEFAULT_FRAMES = 72
# Focal length in image widths: a field of view of 67 degrees, like a phone's wide camera.
FOCAL = 0.75


class ProceduralRoom(Recording):
    """A walk through the room of one seed, rendered frame by frame on demand.

    Args:
        seed: seed of the room (and of its walks).
        size: (height, width) of the images.
        frames: number of frames of the default walk.
        cameras: a trajectory [T] to follow instead of the default walk; metres, z up, the room's
            floor spans [0, extent] from the origin.
        lap: frames per lap of the default walk: more is slower.
        photos: whether some surfaces show photographs.
        walk: index of the room's walk to use by default.
    """

    has_depth = True

    def __init__(
        self,
        seed: int,
        size: tuple[int, int] = DEFAULT_SIZE,
        frames: int = DEFAULT_FRAMES,
        cameras: Cameras | None = None,
        lap: int = FRAMES_A_LAP,
        photos: bool = False,
        walk: int = 0,
    ):
        self._renderer = room_renderer(seed, photos)
        self.room = self._renderer.room
        if cameras is None:
            cameras = self._walk([seed, 1, walk] if walk else [seed, 1], size, frames, lap)
        self.path = Path(f"{PREFIX}:seed={seed}" + (f",walk={walk}" if walk else ""))
        self._follow(cameras)

    def caption(self, frames: Sequence[int] | None = None) -> str:
        """A description of the room's contents."""
        return room_caption(self.room)

    def along(self, start: int, path2start: Float[Tensor, "T 4 4"]) -> ProceduralRoom:
        """The same room along another path, which may pass through objects."""
        origin = self.cameras[start]
        K = origin.K.expand(len(path2start), 3, 3)
        other = copy(self)
        other._follow(replace(origin, c2w=origin.c2w @ path2start, K=K))
        return other

    def frame(self, i: int) -> Float[Tensor, "3 H W"]:
        """Colours of frame `i` [3, H, W] in [0, 1], averaged over four samples per pixel."""
        return torch.from_numpy(self._renderer.colours(self.cameras[i]))

    def depth(self, i: int) -> Float[Tensor, "H W"]:
        """Exact depth of frame `i` [H, W] in metres at the pixel centres; 0 outside the room."""
        return torch.from_numpy(self._renderer.depth(self.cameras[i]))

    def distances(self, points: Float[np.ndarray, "P 3"]) -> Float[np.ndarray, " P"]:
        """Distance from points [P, 3] to the nearest surface, in metres."""
        return self._renderer.search.distances(points)

    def _follow(self, cameras: Cameras) -> None:
        self.cameras = cameras.to(torch.float32).validated(str(self.path))
        self.names = tuple(f"{i:06d}" for i in range(len(cameras)))

    def _walk(self, seed: list[int], size: tuple[int, int], frames: int, lap: int) -> Cameras:
        rng, search = np.random.default_rng(seed), self._renderer.search
        c2w = free_walk(rng, self.room.extent, frames, search.distances, search.views, lap)
        height, width = size
        focal = FOCAL * width
        K = intrinsics(focal, focal, width / 2, height / 2)
        return Cameras(c2w.float(), K.expand(frames, 3, 3), size)


def procedural_recording(
    seed: int,
    size: tuple[int, int] = DEFAULT_SIZE,
    frames: int = DEFAULT_FRAMES,
    cameras: Cameras | None = None,
    lap: int = FRAMES_A_LAP,
    photos: bool = False,
    walk: int = 0,
) -> ProceduralRoom:
    """The room of `seed`, filmed along `cameras` or along one of its own walks.

    Raises:
        ValueError: no frames, no lap, or invalid sizes.
    """
    if frames < 1 or lap < 1 or min(size) < 2:
        raise ValueError(
            f"{PREFIX}: cannot make {frames} frames of {size[0]}x{size[1]} with {lap} per lap"
        )
    return ProceduralRoom(seed, size, frames, cameras, lap, photos, walk)


def open_procedural(words: str) -> Recording:
    """Opens a recording described as in "procedural:seed=3,frames=70,size=128x192".

    `walk=2` takes another path through the same room than `walk=1` or the default 0. `errors=1`
    adds reconstruction errors as large as `LIKE_KITCHEN`, `errors=2` twice as large; with 0, the
    default, poses and depth are exact. `photos=1` uses photographs for some surfaces.

    Raises:
        ValueError: an unknown option, or a value that is not an integer (size: HxW; errors: a
            number >= 0).
    """
    options: dict = {"seed": 0, "walk": 0}
    errors = 0.0
    for word in filter(None, words.partition(":")[2].split(",")):
        key, _, value = word.partition("=")
        numbers = value.split("x")
        count = {"seed": 1, "walk": 1, "frames": 1, "size": 2, "lap": 1}.get(key)
        if key == "errors" and re.fullmatch(r"\d+(\.\d+)?", value):
            errors = float(value)
        elif key == "photos" and value in ("0", "1"):
            options[key] = value == "1"
        elif count != len(numbers) or not all(number.isdigit() for number in numbers):
            raise ValueError(
                f"{words}: cannot read {word!r}; options are seed=N, walk=N, frames=N, lap=N, "
                f"size=HxW, photos=0 or 1 and errors=X (0 = exact, 1 = as a real reconstruction), "
                f"as in {PREFIX}:seed=3,frames=70,size=128x192,errors=1"
            )
        else:
            values = [int(number) for number in numbers]
            options[key] = tuple(values) if count == 2 else values[0]
    room = procedural_recording(**options)
    if errors == 0:
        return room
    path = Path(f"{room.path},errors={errors:g}")
    seed, walk = options["seed"], options["walk"]
    # Two walks through a room are two reconstructions, with independent errors.
    drawn = int(np.random.SeedSequence([seed, 1, walk]).generate_state(1)[0]) if walk else seed
    return ErroneousRecording(room, LIKE_KITCHEN.scaled(errors), drawn, path)


def one_room_each(words: str) -> list[str]:
    """Expands a description such as "procedural:seed=0..399,walk=0..3" into one per recording.

    Walks of the same room are adjacent, so that each room is generated once.

    Raises:
        ValueError: an empty range.
    """
    return [one for room in _each(words, "seed") for one in _each(room, "walk")]


def _each(words: str, key: str) -> list[str]:
    match = re.search(rf"(?<=[:,]{key}=)(\d+)\.\.(\d+)(?=,|$)", words)
    if match is None:
        return [words]
    first, last = int(match[1]), int(match[2])
    if last < first:
        raise ValueError(f"{words}: the range of {key}s {match[0]} is empty")
    return [
        words[: match.start()] + str(number) + words[match.end() :]
        for number in range(first, last + 1)
    ]
