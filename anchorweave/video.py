"""Reading and writing video files: decord reads, ffmpeg (through imageio) writes."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import decord
import imageio.v2 as imageio
import imageio_ffmpeg
import numpy as np
import torch
from jaxtyping import Float, Num, UInt8
from torch import Tensor

from anchorweave.edit_lists import shown_seconds
from anchorweave.eight_bit import to_image
from anchorweave.errors import OutsideError
from anchorweave.files import atomic_write

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi")
# x264's constant rate factor: 17 and below is visually lossless.
RATE_FACTOR = 11
# A ninth of the default preset's time and less than half of superfast's; on a real recording of
# 480x720 and its anchors PSNR is superfast's (within 0.6 dB), and files are 10 to 25 % larger.
PRESET = "ultrafast"
# Frames outside the displayed time range by more than this are hidden by the container.
HIDDEN_SECONDS = 1e-3


class VideoFile:
    """A video opened for random access.

    A video cut without re-encoding hides frames before time 0, from which its first displayed
    frames are decoded, or after its end. decord counts them and then returns wrong frames, so such
    a video is first copied losslessly as displayed; the copy is deleted with this object.

    Args:
        path: any file that ffmpeg decodes.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is not a video, or is truncated.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"{self.path}: no such video file")
        self._reader = self._opened(self.path)
        if self._hides_frames():
            self._copy = tempfile.TemporaryDirectory(prefix="shown-")
            shown = Path(self._copy.name) / "shown.mp4"
            _copy_shown(self.path, shown)
            self._reader = self._opened(shown)
        height, width = self._reader[0].shape[:2]
        self.size = (height, width)

    def _hides_frames(self) -> bool:
        """Whether decord counts frames that are not displayed."""
        first, last = self._reader.get_frame_timestamp([0, len(self._reader) - 1])[:, 0]
        shown = shown_seconds(self.path)
        too_late = shown is not None and last > shown - HIDDEN_SECONDS
        return bool(first < -HIDDEN_SECONDS or too_late)

    def _opened(self, file: Path) -> decord.VideoReader:
        try:
            reader = decord.VideoReader(str(file), num_threads=1)
            reader[0]
        except (RuntimeError, IndexError, decord.DECORDError) as error:
            raise ValueError(_unreadable(self.path, error)) from error
        return reader

    def __len__(self) -> int:
        return len(self._reader)

    def times(self) -> Float[Tensor, " T"]:
        """Start time of each frame, in seconds [T], float64."""
        spans = self._reader.get_frame_timestamp(range(len(self)))
        return torch.from_numpy(spans[:, 0].astype(np.float64))

    def frames(self, indices: Sequence[int]) -> UInt8[Tensor, "T 3 H W"]:
        """The frames at `indices`, 0..255.

        Raises:
            IndexError: an index outside the video.
            ValueError: frames that cannot be decoded.
        """
        if outside := [i for i in indices if not 0 <= i < len(self)]:
            raise OutsideError(f"{self.path}: has frames 0..{len(self) - 1}, asked for {outside}")
        try:
            pixels = self._reader.get_batch(list(indices)).asnumpy()
        except (RuntimeError, decord.DECORDError) as error:
            raise ValueError(_unreadable(self.path, error)) from error
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def read_video(path: str | Path, indices: Sequence[int] | None = None) -> UInt8[Tensor, "T 3 H W"]:
    """The frames of the video at `path`, 0..255; all of them, or those at `indices`.

    Raises:
        FileNotFoundError: no such file.
        IndexError: an index outside the video.
        ValueError: a file that is not a video, or is truncated.
    """
    video = VideoFile(path)
    return video.frames(range(len(video)) if indices is None else indices)


def write_video(
    path: str | Path,
    frames: Num[Tensor, "T 3 H W"] | Iterator[Num[Tensor, "3 H W"]],
    fps: int | float = 8,
) -> None:
    """Writes `frames` as a widely playable H.264 video.

    Args:
        path: the file to write, ending in .mp4; it appears when it is complete.
        frames: [T, 3, H, W], float in [0, 1] or uint8; H and W even, as 4:2:0 colour needs. An
            iterator of frames [3, H, W] writes videos that do not fit in memory.
        fps: frames per second.

    Raises:
        ValueError: no frames, or an odd size.
        OSError: the video could not be written completely (a full disk).
    """
    path = Path(path)
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise ValueError(f"{path}: cannot write a video of 0 frames")
    H, W = first.shape[1:]
    if H % 2 or W % 2:
        raise ValueError(f"{path}: cannot write frames of {H}x{W}; H.264 needs even sizes")
    T = 0
    with atomic_write(path) as aside:
        # A block size of 1 keeps imageio from resizing to multiples of 16.
        with imageio.get_writer(
            aside,
            format="FFMPEG",
            fps=fps,
            codec="libx264",
            pixelformat="yuv420p",
            macro_block_size=1,
            quality=None,
            output_params=["-crf", str(RATE_FACTOR), "-preset", PRESET],
        ) as writer:
            for frame in chain([first], frames):
                writer.append_data(to_image(frame))
                T += 1
        # ffmpeg's exit status is not available, but the number of written frames is.
        if (written := _count(aside)) != T:
            raise OSError(
                f"{path}: only {written} of {T} frames could be written; is the disk full?"
            )


def _copy_shown(path: Path, shown: Path) -> None:
    """Writes the displayed frames, with their times and pixels unchanged."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-loglevel", "error", "-i", str(path)]
    command += ["-map", "0:v:0", "-fps_mode", "passthrough", "-c:v", "libx264", "-qp", "0"]
    command += ["-preset", "ultrafast", "-bf", "0", str(shown)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode or done.stderr.strip():
        reason = (done.stderr.strip().splitlines() or ["ffmpeg failed"])[0]
        raise ValueError(
            f"{path}: hides frames before its beginning or after its end (it was cut without "
            f"encoding it again), and could not be decoded whole ({reason}); encode it again, as "
            "by ffmpeg -i"
        )


def _count(path: Path) -> int:
    """Frames of a video that was just written; 0 if it cannot be opened."""
    try:
        return len(decord.VideoReader(str(path), num_threads=1))
    except (RuntimeError, decord.DECORDError):
        return 0


def _unreadable(path: Path, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return f"{path}: cannot be read as a video ({reason}); is it complete?"
