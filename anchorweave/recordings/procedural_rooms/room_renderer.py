"""Renders images, depth and distances of one furnished room."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float

from anchorweave.geometry.cameras import Cameras
from anchorweave.recordings.pinhole_view import view_of
from anchorweave.recordings.procedural_rooms.rasterizing import depths, in_blocks, seen_triangles
from anchorweave.recordings.procedural_rooms.rooms import Room, furnished_room
from anchorweave.recordings.procedural_rooms.shading import SAMPLES, Shader
from anchorweave.recordings.procedural_rooms.surface_search import SurfaceSearch


class RoomRenderer:
    """Renders `room` for given cameras."""

    def __init__(self, room: Room):
        self.room = room
        self._corners = np.concatenate(room.surfaces.corners).astype(np.float32)
        self._blocks = in_blocks(self._corners)
        self._shader = Shader(room, self._corners)
        self.search = SurfaceSearch(self._corners)

    def colours(self, camera: Cameras) -> Float[np.ndarray, "3 H W"]:
        """Colours [3, H, W] in [0, 1], float32, averaged over four samples per pixel."""
        height, width = camera.size
        view = view_of(camera.resized((SAMPLES * height, SAMPLES * width)))
        triangles = seen_triangles(self._corners, self._blocks, view)
        return self._shader.colours(view, triangles, 1 / float(camera.K[0, 0]))

    def depth(self, camera: Cameras) -> Float[np.ndarray, "H W"]:
        """Exact depth [H, W] in metres at the pixel centres, float32; 0 outside the room."""
        view = view_of(camera)
        return depths(self._corners, seen_triangles(self._corners, self._blocks, view), view)


@lru_cache(maxsize=2)
def room_renderer(seed: int, photos: bool = False) -> RoomRenderer:
    """The renderer of the room of `seed`, shared by all its recordings."""
    return RoomRenderer(furnished_room(seed, photos))
