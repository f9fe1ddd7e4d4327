"""Finds the recordings, or the plain footage, that a path or a description of rooms refers to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from anchorweave.recordings import FILE_FORMATS, FOLDER_FORMATS, camera_files_in
from anchorweave.recordings.procedural_rooms.recording import PREFIX, one_room_each
from anchorweave.recordings.reconstruction import is_footage
from anchorweave.video import VIDEO_SUFFIXES

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
    return _named(source, _recordings, "recording")


def find_footage(source: str | Sequence[str]) -> dict[str, str]:
    """Plain videos and folders of photographs by the name their recordings get.

    Args:
        source: one of them, a folder with several at any depth, or a list of these. What has
            cameras already is left out.

    Raises:
        FileNotFoundError: nothing at a path.
        ValueError: a folder without any, or two of the same name.
    """
    return _named(source, _footage, "video")


def _named(
    source: str | Sequence[str], find: Callable[[str], list[tuple[str, str]]], kind: str
) -> dict[str, str]:
    """What `find` finds for each entry of `source`, by names that must differ."""
    path_by_name: dict[str, str] = {}
    listed = [source] if isinstance(source, str) else source
    if not isinstance(listed, (list, tuple)) or not all(isinstance(entry, str) for entry in listed):
        raise ValueError(f"source={source}: give a {kind}, a folder of them, or a list of these")
    for entry in listed:
        for name, path in find(entry):
            if path_by_name.setdefault(name, path) != path:
                raise ValueError(
                    f"{path_by_name[name]} and {path} would both be called {name!r}; rename one, "
                    "or give them two outputs"
                )
    if not path_by_name:
        raise ValueError(f"source=[] lists no {kind}s")
    return path_by_name


def _recordings(source: str) -> list[tuple[str, str]]:
    if source.split(":")[0] == PREFIX:
        return [(_name(words), words) for words in one_room_each(source)]
    if found := list(_with_names(source, _below)):
        return found
    plain = sum(1 for _ in _with_names(source, _footage_below))
    hint = (
        f". It holds {plain} video(s) or folders of photographs without cameras: `bash "
        f"scripts/reconstruct.sh source={source} output=data/reconstructed` estimates them, then "
        "use source=data/reconstructed perception=plane_sweep"
    )
    raise ValueError(
        f"{source}: 0 recordings; looked in it and below for {', '.join(FOLDER_FORMATS)} and "
        f"RealEstate10K camera files, and {', '.join(FILE_FORMATS)} files" + (hint if plain else "")
    )


def _footage(source: str) -> list[tuple[str, str]]:
    if found := list(_with_names(source, _footage_below)):
        return found
    raise ValueError(
        f"{source}: 0 videos ({', '.join(VIDEO_SUFFIXES)}) or folders of photographs without "
        "cameras, in it and below"
    )


def _with_names(source: str, below: Callable[[Path], Iterator[Path]]) -> Iterator[tuple[str, str]]:
    root = Path(source)
    if not root.exists():
        raise FileNotFoundError(f"{root}: no such file or folder")
    for path in below(root):
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
    for child, passed in _folders_in(path, above):
        yield from _below(child, passed)


def _footage_below(path: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """Videos and folders of photographs at or below `path`, as `_below`."""
    if path.is_file():
        if is_footage(path):
            yield path
        return
    if any(recording_format.is_here(path) for recording_format in FOLDER_FORMATS.values()):
        return
    posed = {file.stem for file in camera_files_in(path)}
    if is_footage(path) and not posed:
        yield path
        return
    for file in sorted(path.iterdir()):
        if not file.name.startswith(".") and file.is_file() and file.stem not in posed:
            yield from _footage_below(file)
    for child, passed in _folders_in(path, above):
        yield from _footage_below(child, passed)


def _folders_in(path: Path, above: frozenset[Path]) -> Iterator[tuple[Path, frozenset[Path]]]:
    """Folders in `path` that are neither hidden nor one of `above`, and what is above these."""
    passed = above | {path.resolve()}
    for child in sorted(path.iterdir()):
        if child.name.startswith(".") or child.name == SHADOWS or not child.is_dir():
            continue
        if child.resolve() not in passed:
            yield child, passed


def _name(words: str) -> str:
    """A folder name from a path or a procedural recording's description."""
    return re.sub(r"[^\w.=-]+", "-", words).strip("-.") or "recording"
