"""The common interface of all recordings, independent of their format on disk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anchorweave.clip import Clip, join_clips
from anchorweave.errors import OutsideError
from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.projection import project
from anchorweave.progress import progress
from anchorweave.recordings.captions import CAPTIONS, Stretch, caption_of, read_stretches
from anchorweave.recordings.config import RecordingConfig
from anchorweave.recordings.framing import reframed
from anchorweave.recordings.listing import Missing, contained
from anchorweave.recordings.reading import text_of

# Number of positions named in a message; the rest are only counted.
SHOWN_POSITIONS = 5
# Coordinates are far from the origin if they are large and float32 would round them by more than
# this fraction of a frame-to-frame step (so that a static camera does not count).
LARGE, STEP_ERROR, FLOAT32_ROUNDING = 100.0, 1e-4, 2.0**-24


CAPTION = "caption.txt"


class Recording(ABC):
    """A posed video, decoded on demand.

    Attributes:
        path: the file or folder (for a procedural room: its description).
        names: name of each of the T frames, for reports and messages.
        cameras: undistorted pinhole cameras [T] at the images' own size.
        has_depth: whether it has depth.
        has_frames: False for a trajectory without images.
    """

    path: Path
    names: tuple[str, ...]
    cameras: Cameras
    has_depth: bool = False
    has_frames: bool = True

    def __len__(self) -> int:
        return len(self.names)

    @abstractmethod
    def frame(self, i: int) -> Float[Tensor, "3 H W"]:
        """Colours of frame `i` [3, H, W] in [0, 1], undistorted."""

    def depth(self, i: int) -> Float[Tensor, "H W"]:
        """Depth of frame `i` [H, W] along the optical axis, in the unit of the poses; 0 = invalid.

        Raises:
            ValueError: the recording holds no depth.
        """
        raise ValueError(f"{self.path}: holds no depth; estimate it (see anchorweave/perception)")

    def static(self, i: int) -> Bool[Tensor, "H W"] | None:
        """Which pixels of frame `i` may be remembered [H, W]; None = all.

        False on moving objects and on transparent pixels.
        """
        return None

    def sparse_points(self, i: int) -> Float[Tensor, "P 3"] | None:
        """World points [P, 3] on surfaces visible in frame `i`; None = unknown.

        From structure from motion: few, but in the scale of the poses.
        """
        return None

    def caption(self, frames: Sequence[int] | None = None) -> str | None:
        """A description of the recording, from a text file beside it; None if there is none.

        Read from `caption.txt` in a recording's folder, or `X.caption.txt` or `caption.txt` beside
        a file X. For a subset of frames, the caption in `captions.txt` that covers most of them
        takes precedence; it also stands for the whole recording if there is no caption.txt.

        Args:
            frames: positions to describe; None = all.

        Raises:
            ValueError: the text is empty or unreadable, or its path leaves the recording's folder.
        """
        if frames is not None and (words := caption_of(self.stretches(), frames)) is not None:
            return words
        if (file := self._beside(CAPTION)) is not None:
            if text := text_of(file).strip():
                return text
            raise ValueError(f"{file} is empty; write what the recording shows, or remove it")
        return (
            next((stretch.words for stretch in self.stretches()), None) if frames is None else None
        )

    def stretches(self) -> list[Stretch]:
        """Captions of frame ranges, from `captions.txt` (found like `caption.txt`); [] if none.

        Raises:
            ValueError: malformed lines.
        """
        file = self._beside(CAPTIONS)
        return [] if file is None else read_stretches(file)

    def _beside(self, name: str) -> Path | None:
        folder = self.path if self.path.is_dir() else self.path.parent
        candidates = [folder / name]
        if folder != self.path:
            candidates.insert(0, self.path.with_suffix(f".{name}"))
        return next((contained(folder, file) for file in candidates if file.is_file()), None)

    def files(self) -> Sequence[Path]:
        """The files that frames and depth are read from; none for generated recordings."""
        return ()

    def along(self, start: int, path2start: Float[Tensor, "T 4 4"]) -> Recording | None:
        """The same scene along another camera path; None if it cannot be re-rendered.

        Args:
            start: frame at which the path starts; its intrinsics are used.
            path2start: camera poses [T, 4, 4] of the path in that frame's camera coordinates.
        """
        return None

    def clip(self, indices: Sequence[int], size: tuple[int, int] | None = None) -> Clip:
        """The frames at `indices` with their depth (all 0 if there is none) and cameras.

        Args:
            indices: positions in [0, T), in any order.
            size: target (height, width): images, depth and cameras are centre-cropped to this
                aspect and resized together; None keeps the images' own size.

        Raises:
            IndexError: a position out of range.
            ValueError: a trajectory without images, or an unreadable file.
        """
        if not self.has_frames:
            raise ValueError(f"{self.path}: is a trajectory only; there are no images beside it")
        if outside := [i for i in indices if not 0 <= i < len(self)]:
            positions = ", ".join(str(i) for i in outside[:SHOWN_POSITIONS])
            more = len(outside) - SHOWN_POSITIONS
            raise OutsideError(
                f"{self.path}: has frames 0..{len(self) - 1}, not {positions}"
                + (f" and {more} more" if more > 0 else "")
            )
        reading = progress(indices, f"reading {self.path.name}")
        return join_clips([self._one(i, size) for i in reading])

    def _one(self, i: int, size: tuple[int, int] | None) -> Clip:
        frame = self.frame(i)
        depth = self.depth(i) if self.has_depth else torch.zeros_like(frame[0])
        static = self.static(i)
        if static is not None:
            depth, static = torch.where(static, depth, 0.0), static[None]
        clip = Clip(frame[None], depth[None], self.cameras[i : i + 1], (self.names[i],), static)
        clip = clip if size is None else reframed(clip, size)
        points = self.sparse_points(i)
        return clip if points is None else replace(clip, sparse=_depth_of(points, clip.cameras))


class Format(NamedTuple):
    """How recordings of one format are detected and opened; see `recordings/__init__.py`.

    Args:
        is_here: whether a folder or file is of this format, judged by names or a header: called for
            every folder that is searched.
        opened: opens the recording. `missing` applies to frames that lack a file, see
            `listing.usable`; every option is either honoured or rejected by
            `RecordingConfig.refused`. Raises FileNotFoundError or ValueError with the path, the
            problem and the remedy.
    """

    is_here: Callable[[Path], bool]
    opened: Callable[[Path, Missing, RecordingConfig], Recording]


def _depth_of(points: Float[Tensor, "P 3"], camera: Cameras) -> Float[Tensor, "1 H W"]:
    """Depth of points at the pixels they project to, the nearest if several; else 0."""
    height, width = camera.size
    position, z = project(points, camera)
    position, z = position.reshape(-1, 2), z.reshape(-1)
    inside = (position >= 0).all(-1) & (position < position.new_tensor([width, height])).all(-1)
    inside &= z > 0
    column, row = position[inside].floor().long().unbind(-1)
    depth = torch.full((height * width,), torch.inf)
    depth.scatter_reduce_(0, row * width + column, z[inside], "amin")
    return torch.where(depth.isinf(), 0.0, depth).reshape(1, height, width)


def posed_cameras(
    where: Path,
    names: Sequence[str],
    c2w: Float[Tensor, "T 4 4"],
    K: Float[Tensor, "T 3 3"],
    size: tuple[int, int],
    origin: tuple[float, float, float] | None = None,
) -> Cameras:
    """Cameras [T] in float32, after validating every pose and K; errors name the frame.

    Args:
        where: their file or folder, for messages.
        names: T names, for messages.
        c2w: [T, 4, 4] in the recording's coordinates, float64 if these are large.
        K: [T, 3, 3].
        size: (height, width).
        origin: origin of the world to convert to; None = `near_origin` of the poses.

    Raises:
        ValueError: a pose that is not finite and rigid, or a K that does not fit the image.
    """
    frames = [f"frame {name}" for name in names]
    cameras = Cameras(c2w, K.float(), size).validated(str(where), frames)
    near = cameras.about(near_origin(c2w) if origin is None else origin)
    return replace(near, c2w=near.c2w.float())


def near_origin(c2w: Float[Tensor, "T 4 4"]) -> tuple[float, float, float]:
    """An origin relative to which float32 resolves the camera positions; 0 0 0 if that suffices.

    It is the first camera's position rounded to whole units, so it does not depend on later frames.
    """
    centres = c2w[:, :3, 3].double()
    largest = centres.abs().max().item()
    steps = centres.diff(dim=0).norm(dim=-1)
    steps = steps[steps > 0]
    step = steps.median().item() if len(steps) else 0.0
    if largest < LARGE or largest * FLOAT32_ROUNDING <= STEP_ERROR * step:
        return (0.0, 0.0, 0.0)
    x, y, z = centres[0].round().tolist()
    return (x, y, z)
