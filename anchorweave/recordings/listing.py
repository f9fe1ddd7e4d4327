"""Frame lists: which frames are complete, and their files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

Missing = Literal["error", "skip"]
SHOWN_PROBLEMS = 5
SHOWN_CHARACTERS = 120
WINDOWS_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


def usable(
    where: Path, names: Sequence[str], problems: Sequence[str | None], missing: Missing
) -> list[int]:
    """Positions of the frames without problems.

    Args:
        where: the file or folder that lists the frames.
        names: names of the frames.
        problems: for each frame, what is missing, or None.
        missing: "error" rejects a recording with any such frame; "skip" skips them.

    Raises:
        FileNotFoundError: frames with a problem, unless they are to be skipped; or no frame left.
    """
    bad = [f"{name}: {problem}" for name, problem in zip(names, problems, strict=True) if problem]
    if bad and (missing == "error" or len(bad) == len(names)):
        examples = "; ".join(bad[:SHOWN_PROBLEMS]) + ("; ..." if len(bad) > SHOWN_PROBLEMS else "")
        hint = "" if len(bad) == len(names) else ", or skip them with missing=skip"
        raise FileNotFoundError(
            f"{where}: {len(bad)} of {len(names)} frames are incomplete ({examples}); "
            f"complete the recording{hint}"
        )
    return [i for i, problem in enumerate(problems) if not problem]


def inside(listing: Path, name: str, suffixes: tuple[str, ...] = ()) -> Path:
    """The file that `name` in the file `listing` refers to, which must be inside its folder.

    Args:
        listing: the file that lists frames; names are relative to its folder.
        name: a path, possibly without its suffix (as written by Blender's exporters) or with
            Windows backslashes.
        suffixes: suffixes to try if it has none.

    Raises:
        ValueError: the path, or its link target, is outside the folder, or it is not a valid path.
    """
    if WINDOWS_DRIVE.match(name):
        raise ValueError(
            f"{listing}: {name} is a path on a Windows drive; move the files inside the "
            "recording's folder and write paths relative to the file that lists them"
        )
    file = _completed(listing, name, suffixes)
    if "\\" in name and not file.is_file():
        file = _completed(listing, name.replace("\\", "/"), suffixes)
    return contained(listing.parent, file, f"{listing}: {name}")


def _completed(listing: Path, name: str, suffixes: tuple[str, ...]) -> Path:
    file = listing.parent / name
    try:
        if file.is_file():
            return file
        return next((p for s in suffixes if (p := Path(f"{file}{s}")).is_file()), file)
    except OSError as error:
        # For instance a name that is too long for a file.
        raise ValueError(
            f"{listing}: {name[:SHOWN_CHARACTERS]} is not a valid path ({error.strerror})"
        ) from error


def contained(folder: Path, file: Path, called: str | None = None) -> Path:
    """Returns `file` after checking that neither it nor its link target is outside `folder`.

    Args:
        folder: the recording's folder.
        file: a path that should be inside it.
        called: name used in messages; None = its path.

    Raises:
        ValueError: it is outside, or its links form a cycle.
    """
    called = called or str(file)
    try:
        target = file.resolve()
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{called} is a broken link ({error})") from error
    if not target.is_relative_to(folder.resolve()):
        raise ValueError(
            f"{called} is outside the recording's folder (it points to {target}); "
            "move the files inside, paths are relative to the recording"
        )
    return file


def one_file_each(
    folder: Path, files: Iterable[Path], suffixes: tuple[str, ...], frame_of: Callable[[Path], str]
) -> dict[str, Path]:
    """Files by the frame they belong to.

    Hidden files (macOS's ._NAME, .DS_Store) and files with other suffixes are ignored.

    Args:
        folder: the recording's folder, which all files must be inside.
        files: the candidate files.
        suffixes: accepted suffixes in lower case.
        frame_of: maps a file to its frame's name.

    Raises:
        ValueError: two files of one frame, or a file outside the folder.
    """
    file_by_frame: dict[str, Path] = {}
    for file in sorted(files):
        if file.name.startswith(".") or file.suffix.lower() not in suffixes:
            continue
        name = frame_of(file)
        if name in file_by_frame:
            raise ValueError(
                f"{file.parent}: {file_by_frame[name].name} and {file.name} both belong to frame "
                f"{name!r}; remove or rename one"
            )
        file_by_frame[name] = contained(folder, file)
    return file_by_frame
