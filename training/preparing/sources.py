"""Selects the recordings and stretches that become clips."""

from __future__ import annotations

from dataclasses import replace

from anchorweave.datasets.splits import Split, SplitConfig, split_frames, window_length
from anchorweave.recordings.search import find_recordings

__all__ = ["find_recordings", "windows"]


def windows(
    count: int, frames: int, split: SplitConfig, clips: int | None, stride: int | None
) -> list[Split]:
    """The stretches of one recording that become clips, each split into target and history.

    Args:
        count: frames of the recording.
        frames: target frames T of a clip.
        split: how a stretch is split; `split.window` is its length, also for `later` (None = all
            remaining frames).
        clips: maximum number; None = as many as fit.
        stride: frames between the starts of consecutive stretches; None = the stretch length.

    Raises:
        ValueError: none fits.
    """
    if (clips is not None and clips < 1) or (stride is not None and stride < 1):
        raise ValueError(f"clips_per_recording={clips} and stride={stride} must be 1 or more")
    if split.kind == "partial_revisit":
        length = window_length(frames, split)
    else:
        length = split.window or max(count - split.start, 1)
    starts = list(range(split.start, count - length + 1, stride or length))[:clips]
    if not starts:
        raise ValueError(
            f"a stretch of {length} frames starting at frame {split.start} does not fit a "
            f"recording of {count} frames; lower frames or split.window, or record more"
        )
    return [split_frames(start + length, frames, replace(split, start=start)) for start in starts]
