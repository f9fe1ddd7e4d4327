"""Which recordings, and which stretches of them, become clips."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from anchorweave.datasets.splits import PAPER_TARGET, PAPER_WINDOW, Split, SplitConfig, split_frames
from anchorweave.recordings import FOLDER_FORMATS
from anchorweave.recordings.procedural import PREFIX
from anchorweave.recordings.realestate10k import is_camera_file


def find_recordings(source: str | Sequence[str]) -> dict[str, str]:
    """Recordings by the name that their clips get.

    Args:
        source: a recording, a folder with recordings at any depth, words such as
            "procedural:seed=3", or a list of these.

    Raises:
        FileNotFoundError: nothing at a path.
        ValueError: a folder in which there is no recording, or two recordings of one name.
    """
    found: dict[str, str] = {}
    for one in [source] if isinstance(source, str) else source:
        recordings = list(_recordings(one))
        if not recordings:
            raise ValueError(
                f"{one}: 0 recordings; looked in it and below for {', '.join(FOLDER_FORMATS)} and "
                "RealEstate10K camera files"
            )
        for name, path in recordings:
            if found.setdefault(name, path) != path:
                raise ValueError(
                    f"{found[name]} and {path} would both be called {name!r}; rename one, or "
                    "prepare them into two data sets"
                )
    if not found:
        raise ValueError("source=[] lists no recordings")
    return found


def windows(
    count: int, frames: int, split: SplitConfig, clips: int | None, stride: int | None
) -> list[Split]:
    """The stretches of one recording that become clips, each split into target and history.

    Args:
        count: frames of the recording.
        frames: target frames T of a clip.
        split: how a stretch is split; `split.window` is its length, for `later` as well (none =
            all that is left).
        clips: at most this many; None = as many as fit.
        stride: frames from the start of one stretch to that of the next; None = its length.

    Raises:
        ValueError: not one fits.
    """
    if (clips is not None and clips < 1) or (stride is not None and stride < 1):
        raise ValueError(f"clips_per_recording={clips} and stride={stride} must be 1 or more")
    length = split.window
    if length is None and split.kind == "partial_revisit":
        length = round(frames * PAPER_WINDOW / PAPER_TARGET)
    if length is None:
        length = max(count - split.start, 1)
    starts = list(range(split.start, count - length + 1, stride or length))[:clips]
    if not starts:
        raise ValueError(
            f"a stretch of {length} frames from frame {split.start} on does not fit a recording of "
            f"{count} frames; lower frames or split.window, or record more"
        )
    return [split_frames(start + length, frames, replace(split, start=start)) for start in starts]


def _recordings(source: str) -> Iterator[tuple[str, str]]:
    if source.split(":")[0] == PREFIX:
        yield _name(source), source
        return
    root = Path(source)
    if not root.exists():
        raise FileNotFoundError(f"{root}: no such file or folder")
    for path in _below(root):
        inside = path.relative_to(root)
        name = path.resolve().name if path == root else str(inside)
        yield _name(str(Path(name).with_suffix("")) if path.is_file() else name), str(path)


def _below(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    if any(is_format(path) for is_format, _ in FOLDER_FORMATS.values()):
        yield path
        return
    texts = sorted(path.glob("*.txt"))
    if cameras := [file for file in texts if is_camera_file(file)]:
        yield from cameras
        return
    for child in sorted(path.iterdir()):
        if child.is_dir() and not child.name.startswith("."):
            yield from _below(child)


def _name(words: str) -> str:
    """A folder's name out of a path or of a procedural recording's words."""
    return re.sub(r"[^\w.=-]+", "-", words).strip("-.") or "recording"
