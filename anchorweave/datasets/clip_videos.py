"""Storage of a prepared clip's videos: H.264 files, or raw pixels in one file.

H.264 is small, playable everywhere and slightly lossy. Raw pixels are exact, need no ffmpeg and are
read and written several times faster, at about twenty times the size: for small videos, or if the
pixels are deleted after encoding.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from jaxtyping import Float, UInt8
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from anchorweave.datasets.layout import PIXELS, reading
from anchorweave.eight_bit import to_bytes
from anchorweave.video import VideoFile, read_video, write_video

Storage = Literal["video", "raw"]


def write_videos(
    folder: Path, videos: Mapping[Path, Float[Tensor, "T 3 H W"]], fps: int, storage: Storage
) -> None:
    """Writes all videos of a clip.

    Args:
        folder: the clip's folder.
        videos: colours in [0, 1], keyed by the path of the (potential) H.264 file.
        fps: frame rate of H.264 files.
        storage: `video` or `raw`.

    Raises:
        OSError: not everything could be written.
    """
    if storage == "video":
        for path, video in videos.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_video(path, video, fps)
        return
    tensors = {_key(folder, path): to_bytes(video).contiguous() for path, video in videos.items()}
    # safetensors' own save_file makes files readable by their owner only.
    (folder / PIXELS).write_bytes(save(tensors))


def read_clip_video(clip: Path, path: Path) -> UInt8[Tensor, "T 3 H W"]:
    """One video of a clip, 0..255, however it is stored.

    Args:
        clip: the clip's folder.
        path: path of the H.264 file, which need not exist if pixels are raw.

    Raises:
        BadClip: the video is missing or unreadable.
    """
    if _is_raw(clip):
        with reading(clip, f"{PIXELS} ({_key(clip, path)})"):
            with safe_open(clip / PIXELS, "pt") as stored:
                return stored.get_tensor(_key(clip, path))
    with reading(clip, str(path.relative_to(clip))):
        return read_video(path)


def video_shape(clip: Path, path: Path) -> tuple[int, int, int]:
    """Frames, height and width of a video of a clip; verifies that its last frame is readable.

    Raises:
        BadClip: the video is missing or unreadable.
    """
    if _is_raw(clip):
        T, _, H, W = read_clip_video(clip, path).shape
        return T, H, W
    with reading(clip, str(path.relative_to(clip))):
        video = VideoFile(path)
        # A truncated file often still opens.
        video.frames([len(video) - 1])
        return len(video), *video.size


def _is_raw(clip: Path) -> bool:
    return (clip / PIXELS).is_file()


def _key(clip: Path, path: Path) -> str:
    return path.relative_to(clip).with_suffix("").as_posix()
