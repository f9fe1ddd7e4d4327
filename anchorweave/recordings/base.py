"""What every recording offers, whatever its format on disk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.clip import Clip, join_clips
from anchorweave.geometry.cameras import Cameras
from anchorweave.progress import slowly
from anchorweave.recordings.framing import reframed

# Positions named in a message before the rest is only counted.
SHOWN_POSITIONS = 5


CAPTION = "caption.txt"


class Recording(ABC):
    """A posed video, of which nothing is decoded before it is asked for.

    Attributes:
        path: where it lies (for a procedural room: the words that describe it).
        names: what each of the T frames is called, for reports and messages.
        cameras: undistorted pinhole cameras [T] at the images' own size.
        has_depth: whether `depth` can be asked for.
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
        """Colours of frame `i` [3, H, W] in [0, 1], free of lens distortion."""

    def depth(self, i: int) -> Float[Tensor, "H W"]:
        """Depth of frame `i` [H, W] along the optical axis, in the unit of the poses; 0 = invalid.

        Raises:
            ValueError: the recording holds no depth.
        """
        raise ValueError(f"{self.path}: holds no depth; estimate it (see anchorweave/perception)")

    def caption(self) -> str | None:
        """What the recording shows, from the text beside it; None where there is none.

        `caption.txt` in a recording's folder, or `X.caption.txt` or `caption.txt` beside a file X.

        Raises:
            ValueError: a text that is empty.
        """
        if self.path.is_dir():
            candidates = [self.path / CAPTION]
        else:
            candidates = [self.path.with_suffix(f".{CAPTION}"), self.path.parent / CAPTION]
        for file in candidates:
            if file.is_file():
                if text := file.read_text().strip():
                    return text
                raise ValueError(f"{file} is empty; write what the recording shows, or remove it")
        return None

    def files(self) -> Sequence[Path]:
        """The files that frames and depth are read from; none where they are made on the spot."""
        return ()

    def along(self, start: int, path2start: Float[Tensor, "T 4 4"]) -> Recording | None:
        """The same place filmed along another path; None where there is no more than was filmed.

        Args:
            start: the frame that the path leaves from; the intrinsics stay that frame's.
            path2start: the path's cameras [T, 4, 4] in that frame's camera coordinates.
        """
        return None

    def clip(self, indices: Sequence[int], size: tuple[int, int] | None = None) -> Clip:
        """The frames at `indices` with their depth (all 0 where there is none) and cameras.

        Args:
            indices: positions in [0, T), in any order.
            size: (height, width) to bring them to: cut about the centre to this aspect, then
                resized, images, depth and cameras together; None keeps the images' own size.

        Raises:
            IndexError: a position outside the recording.
            ValueError: a trajectory without images, or an unreadable file.
        """
        if not self.has_frames:
            raise ValueError(f"{self.path}: is a trajectory only; no images lie beside its cameras")
        if outside := [i for i in indices if not 0 <= i < len(self)]:
            shown = ", ".join(str(i) for i in outside[:SHOWN_POSITIONS])
            more = len(outside) - SHOWN_POSITIONS
            raise IndexError(
                f"{self.path}: has frames 0..{len(self) - 1}, asked for {shown}"
                + (f" and {more} more" if more > 0 else "")
            )
        reading = slowly(indices, f"reading {self.path.name}")
        return join_clips([self._one(i, size) for i in reading])

    def _one(self, i: int, size: tuple[int, int] | None) -> Clip:
        frame = self.frame(i)
        depth = self.depth(i) if self.has_depth else torch.zeros_like(frame[0])
        one = Clip(frame[None], depth[None], self.cameras[i : i + 1], (self.names[i],))
        return one if size is None else reframed(one, size)


def posed_cameras(
    where: Path,
    names: Sequence[str],
    c2w: Float[Tensor, "T 4 4"],
    K: Float[Tensor, "T 3 3"],
    size: tuple[int, int],
) -> Cameras:
    """Cameras [T] in float32, after a check of every pose and K that names the frame it fails on.

    Raises:
        ValueError: a pose that is not finite and rigid, or a K that does not fit the image.
    """
    frames = [f"frame {name}" for name in names]
    return Cameras(c2w.float(), K.float(), size).validated(str(where), frames)
