"""Finds the recordings that a path, or a description of procedural rooms, refers to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from anchorweave.recordings import FILE_FORMATS, FOLDER_FORMATS, camera_files_in
from anchorweave.recordings.procedural_rooms.recording import PREFIX, one_room_each

# Created by macOS next to the real files when it archives a folder.
SHADOWS = "__MACOSX"


def find_recordings(source: str | Sequence[str]) -> dict[str, str]:
    """Recordings by the name their clips get.

    Args:
        source: a recording, a folder with recordings at any depth, a description such as
            "procedural:seed=3" or "procedural:seed=0..399", or a list of these.

    Raises:
        FileNotFoundError: nothing at a path.
        ValueError: a folder without recordings, or two recordings of the same name.
    """
    path_by_name: dict[str, str] = {}
    listed = [source] if isinstance(source, str) else source
    if not isinstance(listed, (list, tuple)) or not all(isinstance(entry, str) for entry in listed):
        raise ValueError(f"source={source}: give a recording, a folder of them, or a list of these")
    for entry in listed:
        recordings = list(_recordings(entry))
        if not recordings:
            raise ValueError(
                f"{entry}: 0 recordings; looked in it and below for "
                f"{', '.join(FOLDER_FORMATS)} and RealEstate10K camera files, and "
                f"{', '.join(FILE_FORMATS)} files"
            )
        for name, path in recordings:
            if path_by_name.setdefault(name, path) != path:
                raise ValueError(
                    f"{path_by_name[name]} and {path} would both be called {name!r}; rename one, "
                    "or prepare them into two data sets"
                )
    if not path_by_name:
        raise ValueError("source=[] lists no recordings")
    return path_by_name


def _recordings(source: str) -> Iterator[tuple[str, str]]:
    if source.split(":")[0] == PREFIX:
        yield from ((_name(words), words) for words in one_room_each(source))
        return
    root = Path(source)
    if not root.exists():
        raise FileNotFoundError(f"{root}: no such file or folder")
    for path in _below(root):
        inside = path.relative_to(root)
        name = path.resolve().name if path == root else str(inside)
        yield _name(str(Path(name).with_suffix("")) if path.is_file() else name), str(path)


def _below(path: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """Recordings at or below `path`; symlinks to one of the folders `above` are not followed."""
    if path.is_file():
        yield path
        return
    if any(recording_format.is_here(path) for recording_format in FOLDER_FORMATS.values()):
        yield path
        return
    if cameras := camera_files_in(path):
        yield from cameras
        return
    packed = [
        file
        for file in sorted(path.iterdir())
        if not file.name.startswith(".")
        and (recording_format := FILE_FORMATS.get(file.suffix.lower())) is not None
        and recording_format.is_here(file)
    ]
    if packed:
        yield from packed
        return
    here = path.resolve()
    for child in sorted(path.iterdir()):
        if child.name.startswith(".") or child.name == SHADOWS or not child.is_dir():
            continue
        if child.resolve() not in above | {here}:
            yield from _below(child, above | {here})


def _name(words: str) -> str:
    """A folder name from a path or a procedural recording's description."""
    return re.sub(r"[^\w.=-]+", "-", words).strip("-.") or "recording"
