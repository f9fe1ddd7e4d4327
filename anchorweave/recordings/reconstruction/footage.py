"""Footage: a plain video or a folder of photographs, without cameras."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from anchorweave.images import IMAGE_SUFFIXES, exif_focal, image_size, read_frame
from anchorweave.recordings.frame_order import by_number
from anchorweave.video import VIDEO_SUFFIXES, VideoFile

# Two views fix everything but the scale; with fewer than three nothing verifies the result.
FEWEST = 3


@dataclass(frozen=True)
class Footage:
    """Frames in temporal order.

    Args:
        path: the video file, or the folder.
        names: name of each of the T frames, without a suffix.
        size: (height, width) of all frames.
        video: the opened video; None for photographs.
        positions: indices of the video frames used, T of them.
        files: T photographs; none for a video.
    """

    path: Path
    names: tuple[str, ...]
    size: tuple[int, int]
    video: VideoFile | None = None
    positions: tuple[int, ...] = ()
    files: tuple[Path, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def frame(self, i: int) -> Float[Tensor, "3 H W"]:
        """Colours of frame `i` [3, H, W] in [0, 1]."""
        if self.video is None:
            return read_frame(self.files[i])
        return self.video.frames([self.positions[i]])[0].float() / 255

    def frames(self, longer_side: int) -> Iterator[Float[Tensor, "3 H W"]]:
        """All frames, downscaled to at most `longer_side`; with even sides, for video codecs."""
        scale = min(1.0, longer_side / max(self.size))
        size = tuple(max(2, round(side * scale / 2) * 2) for side in self.size)
        for i in range(len(self)):
            frame = self.frame(i)
            if scale < 1:
                frame = interpolate(frame[None], size, mode="bilinear", antialias=True)[0]
            yield frame.clamp(0, 1)

    def focal_share(self) -> float | None:
        """Focal length relative to the longer side, from EXIF; None if unknown."""
        focal = exif_focal(self.files[0]) if self.files else None
        return None if focal is None else focal / max(self.size)


def is_footage(path: Path) -> bool:
    """Whether `path` is a video file, or a folder that holds images and no subfolders."""
    if path.is_file():
        return path.suffix.lower() in VIDEO_SUFFIXES
    return path.is_dir() and len(_photographs(path)) > 0


def open_footage(path: Path, fps: float | None) -> Footage:
    """The frames of a video file or of a folder of photographs.

    Args:
        path: the video file or folder.
        fps: frames per second taken from a video; None = all.

    Raises:
        FileNotFoundError: nothing at `path`.
        ValueError: neither a video nor photographs, too few frames, or photographs of several
            sizes.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    if not is_footage(path):
        raise ValueError(
            f"{path}: is neither a video ({', '.join(VIDEO_SUFFIXES)}) nor a folder of photographs "
            f"({', '.join(IMAGE_SUFFIXES)})"
        )
    if path.is_file():
        video = VideoFile(path)
        positions = _taken(video.times(), fps)
        names = [f"{position:06d}" for position in positions]
        footage = Footage(path, tuple(names), video.size, video, tuple(positions))
    else:
        files = _photographs(path)
        sizes = {image_size(file): file for file in reversed(files)}
        if len(sizes) > 1:
            described = ", ".join(f"{file.name} {h}x{w}" for (h, w), file in sizes.items())
            raise ValueError(
                f"{path}: images have several sizes ({described}, height x width), but must come "
                "from one camera; bring them to one size, or remove the others"
            )
        size = next(iter(sizes))
        footage = Footage(path, tuple(file.stem for file in files), size, files=tuple(files))
    if len(footage) < FEWEST:
        more = f", at {fps:g} per second; set reconstruction.fps= higher" if footage.video else ""
        raise ValueError(
            f"{path}: {len(footage)} frames are too few to estimate cameras (at least {FEWEST})"
            + more
        )
    return footage


def _taken(times: Float[Tensor, " T"], fps: float | None) -> list[int]:
    """Frames sampled at an even rate without repetition; all if the video's rate is lower."""
    if fps is None or len(times) < 2:
        return list(range(len(times)))
    # A frame is due when its time has come, up to rounding of the container's timestamps.
    due = ((times - times[0]) * fps + 1e-3).floor()
    new = torch.ones(len(times), dtype=torch.bool)
    new[1:] = due.diff() > 0
    return new.nonzero()[:, 0].tolist()


def _photographs(folder: Path) -> Sequence[Path]:
    """Images in `folder`, by the numbers in their names; [] if it has subfolders."""
    children = [child for child in sorted(folder.iterdir()) if not child.name.startswith(".")]
    if any(child.is_dir() for child in children):
        return []
    images = [child for child in children if child.suffix.lower() in IMAGE_SUFFIXES]
    return [images[i] for i in by_number([file.name for file in images])]
