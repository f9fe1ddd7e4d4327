"""Recordings of furnished rooms that exist only as a seed: exact depth, any trajectory.

Rays are cast by open3d; colours come from textures made of numbers, and from photographs only where
those are asked for.
"""

from __future__ import annotations

import re
from copy import copy
from pathlib import Path

import numpy as np
import torch
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor

from anchorweave.geometry.cameras import Cameras, intrinsics
from anchorweave.geometry.projection import pixel_centres
from anchorweave.recordings.base import Recording
from anchorweave.recordings.reconstruction_errors import LIKE_KITCHEN, ErroneousRecording
from anchorweave.recordings.room_captions import room_caption
from anchorweave.recordings.rooms import furnished_room
from anchorweave.recordings.shading import Hits, Shader
from anchorweave.recordings.walks import FRAMES_A_LAP, free_walk

PREFIX = "procedural"
DEFAULT_SIZE = (128, 192)
DEFAULT_FRAMES = 72
# The focal length in image widths: a view of 67 degrees, as of a phone's wide camera.
FOCAL = 0.75


class ProceduralRoom(Recording):
    """A walk through the room of one seed, rendered frame by frame when asked for.

    Args:
        seed: of the room (and of the walk, where none is given).
        size: (height, width) of the images.
        frames: how many, for the default walk.
        cameras: a trajectory [T] to follow instead of the default walk; metres, z up, the room's
            floor spans [0, extent] from the origin.
        lap: frames of a lap of the default walk: the more, the slower it is.
        photos: whether some surfaces show photographs.
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
    ):
        self.room = furnished_room(seed, photos)
        corners = np.concatenate(self.room.surfaces.corners).astype(np.float32)
        # Takes a second and system libraries, which readers of files can do without.
        import open3d

        self._tensor = open3d.core.Tensor
        self._scene = open3d.t.geometry.RaycastingScene()
        indices = np.arange(3 * len(corners), dtype=np.uint32).reshape(-1, 3)
        self._scene.add_triangles(self._tensor(corners.reshape(-1, 3)), self._tensor(indices))
        self._shader = Shader(self.room, self._blocked)
        if cameras is None:
            cameras = self._walk(seed, size, frames, lap)
        self.path = Path(f"{PREFIX}:seed={seed}")
        self._follow(cameras)

    def caption(self) -> str:
        """What is in the room."""
        return room_caption(self.room)

    def along(self, start: int, path2start: Float[Tensor, "T 4 4"]) -> ProceduralRoom:
        """The same room filmed along another path, which may lead through anything."""
        origin = self.cameras[start]
        K = origin.K.expand(len(path2start), 3, 3)
        other = copy(self)
        other._follow(Cameras(origin.c2w @ path2start, K, origin.size))
        return other

    def frame(self, i: int) -> Float[Tensor, "3 H W"]:
        """Colours of frame `i` [3, H, W] in [0, 1], averaged over four rays a pixel."""
        camera = self.cameras[i]
        height, width = camera.size
        rays = self._rays(camera.resized((2 * height, 2 * width)))
        corner = np.tile(np.arange(4).reshape(2, 2), (height, width)).ravel()
        colours = self._shader.colours(rays, self._cast(rays), 1 / float(camera.K[0, 0]), corner)
        mean = reduce(colours, "(H a W b) C -> C H W", "mean", H=height, W=width, a=2, b=2)
        return torch.from_numpy(mean)

    def depth(self, i: int) -> Float[Tensor, "H W"]:
        """Exact depth of frame `i` [H, W] in metres at the pixel centres; 0 outside the room."""
        # Rays are as long as one unit of depth, so the length along them is the depth.
        depth = self._cast(self._rays(self.cameras[i])).depth
        depth = np.where(np.isfinite(depth), depth, 0.0).astype(np.float32)
        return rearrange(torch.from_numpy(depth), "(H W) -> H W", H=self.cameras.size[0])

    def distances(self, points: Float[np.ndarray, "P 3"]) -> Float[np.ndarray, " P"]:
        """Distance from points [P, 3] to the nearest surface, in metres."""
        return self._scene.compute_distance(self._tensor(points.astype(np.float32))).numpy()

    def _follow(self, cameras: Cameras) -> None:
        self.cameras = cameras.to(torch.float32).validated(str(self.path))
        self.names = tuple(f"{i:06d}" for i in range(len(cameras)))

    def _walk(self, seed: int, size: tuple[int, int], frames: int, lap: int) -> Cameras:
        def views(points, directions):
            return self._cast(np.concatenate([points, directions], axis=1)).depth

        rng = np.random.default_rng([seed, 1])
        c2w = free_walk(rng, self.room.extent, frames, self.distances, views, lap)
        height, width = size
        focal = FOCAL * width
        K = intrinsics(focal, focal, width / 2, height / 2)
        return Cameras(c2w.float(), K.expand(frames, 3, 3), size)

    def _rays(self, camera: Cameras) -> Float[np.ndarray, "P 6"]:
        """Origins and directions [H * W, 6] of the pixels' rays, one unit of depth long."""
        image = (pixel_centres(camera.size, camera.K) - camera.K[:2, 2]) / camera.K.diagonal()[:2]
        local = torch.cat([image, torch.ones_like(image[..., :1])], dim=-1)
        directions = rearrange(local @ camera.c2w[:3, :3].mT, "H W xyz -> (H W) xyz")
        origins = camera.centres.expand_as(directions)
        return torch.cat([origins, directions], dim=-1).numpy()

    def _cast(self, rays: np.ndarray) -> Hits:
        found = self._scene.cast_rays(self._tensor(np.ascontiguousarray(rays, dtype=np.float32)))
        return Hits(
            found["t_hit"].numpy(),
            found["primitive_ids"].numpy().astype(np.int64),
            found["primitive_uvs"].numpy(),
        )

    def _blocked(self, points: np.ndarray, towards: np.ndarray) -> np.ndarray:
        rays = np.concatenate([points, towards - points], axis=1).astype(np.float32)
        return self._scene.test_occlusions(self._tensor(rays), tnear=2e-3, tfar=0.98).numpy()


def procedural_recording(
    seed: int,
    size: tuple[int, int] = DEFAULT_SIZE,
    frames: int = DEFAULT_FRAMES,
    cameras: Cameras | None = None,
    lap: int = FRAMES_A_LAP,
    photos: bool = False,
) -> ProceduralRoom:
    """The room of `seed`, walked through along `cameras` or along a walk of its own.

    Raises:
        ValueError: no frames, no lap, or sizes that are no sizes.
    """
    if frames < 1 or lap < 1 or min(size) < 2:
        raise ValueError(
            f"{PREFIX}: cannot make {frames} frames of {size[0]}x{size[1]} with {lap} a lap"
        )
    return ProceduralRoom(seed, size, frames, cameras, lap, photos)


def open_procedural(words: str) -> Recording:
    """The recording that words such as "procedural:seed=3,frames=70,size=128x192" describe.

    `errors=1` gives it the errors of a real reconstruction, as large as `LIKE_KITCHEN`, `errors=2`
    twice as large ones; without it, or with 0, poses and depth are exact. `photos=1` hangs
    photographs on the walls.

    Raises:
        ValueError: an unknown option, or a value that is no whole number (size: HxW; errors: a
            number >= 0).
    """
    options: dict = {"seed": 0}
    errors = 0.0
    for word in filter(None, words.partition(":")[2].split(",")):
        key, _, value = word.partition("=")
        numbers = value.split("x")
        count = {"seed": 1, "frames": 1, "size": 2, "lap": 1}.get(key)
        if key == "errors" and re.fullmatch(r"\d+(\.\d+)?", value):
            errors = float(value)
        elif key == "photos" and value in ("0", "1"):
            options[key] = value == "1"
        elif count != len(numbers) or not all(number.isdigit() for number in numbers):
            raise ValueError(
                f"{words}: cannot read {word!r}; options are seed=N, frames=N, lap=N, size=HxW, "
                f"photos=0 or 1 and errors=X (0 = exact, 1 = as a real reconstruction), as in "
                f"{PREFIX}:seed=3,frames=70,size=128x192,errors=1"
            )
        else:
            values = [int(number) for number in numbers]
            options[key] = tuple(values) if count == 2 else values[0]
    room = procedural_recording(**options)
    if errors == 0:
        return room
    path = Path(f"{room.path},errors={errors:g}")
    return ErroneousRecording(room, LIKE_KITCHEN.scaled(errors), options["seed"], path)


def one_room_each(words: str) -> list[str]:
    """The words of every room that words such as "procedural:seed=0..399,size=64x96" stand for.

    Raises:
        ValueError: a range that holds no seed.
    """
    found = re.search(r"(?<=[:,]seed=)(\d+)\.\.(\d+)(?=,|$)", words)
    if found is None:
        return [words]
    first, last = int(found[1]), int(found[2])
    if last < first:
        raise ValueError(f"{words}: the range of seeds {found[0]} is empty")
    return [
        words[: found.start()] + str(seed) + words[found.end() :] for seed in range(first, last + 1)
    ]
