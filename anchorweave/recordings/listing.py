"""Lists of frames: which of them are complete, and their files."""

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
    """Positions of the frames that have no problem.

    Args:
        where: the file or folder that lists the frames.
        names: what they are called.
        problems: for each frame, what it lacks, or None.
        missing: "error" refuses a recording with any such frame, "skip" goes on without them.

    Raises:
        FileNotFoundError: frames with a problem, unless they are to be skipped; or no frame left.
    """
    bad = [f"{name}: {problem}" for name, problem in zip(names, problems, strict=True) if problem]
    if bad and (missing == "error" or len(bad) == len(names)):
        shown = "; ".join(bad[:SHOWN_PROBLEMS]) + ("; ..." if len(bad) > SHOWN_PROBLEMS else "")
        hint = "" if len(bad) == len(names) else ", or go on without these with missing=skip"
        raise FileNotFoundError(
            f"{where}: {len(bad)} of {len(names)} frames are incomplete ({shown}); "
            f"complete the recording{hint}"
        )
    return [i for i, problem in enumerate(problems) if not problem]


def inside(listing: Path, name: str, suffixes: tuple[str, ...] = ()) -> Path:
    """The file that `name` in the file `listing` refers to, which must be inside its folder.

    Args:
        listing: the file that lists frames; names are relative to its folder.
        name: a path, perhaps without its suffix (as Blender's exporters write it), perhaps with
            the backslashes of Windows.
        suffixes: what to try then.

    Raises:
        ValueError: the path, or what it links to, leaves the folder, or it is no path.
    """
    if WINDOWS_DRIVE.match(name):
        raise ValueError(
            f"{listing}: {name} is a path on a drive of Windows; move the files inside the "
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
        # Such as a name that is longer than any file's.
        raise ValueError(
            f"{listing}: {name[:SHOWN_CHARACTERS]} is no path ({error.strerror})"
        ) from error


def contained(folder: Path, file: Path, called: str | None = None) -> Path:
    """`file` itself, after a check that neither it nor its link target is outside `folder`.

    Args:
        folder: the recording's.
        file: a path below it, or one that claims to be.
        called: what a message calls it; None = its path.

    Raises:
        ValueError: it leads out, or its links go in a circle.
    """
    called = called or str(file)
    try:
        target = file.resolve()
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{called} is a link that leads nowhere ({error})") from error
    if not target.is_relative_to(folder.resolve()):
        raise ValueError(
            f"{called} leaves the recording's folder (it leads to {target}); "
            "move the files inside, paths are relative to the recording"
        )
    return file


def one_file_each(
    folder: Path, files: Iterable[Path], suffixes: tuple[str, ...], frame_of: Callable[[Path], str]
) -> dict[str, Path]:
    """Files by the frame that they belong to.

    Hidden files (macOS's ._NAME, .DS_Store) and files with other suffixes are no frames.

    Args:
        folder: the recording's, out of which no file may lead.
        files: what lies there.
        suffixes: in lower case, those that count.
        frame_of: the frame's name, out of a file.

    Raises:
        ValueError: two files of one frame, or a file that leads out of the folder.
    """
    found: dict[str, Path] = {}
    for file in sorted(files):
        if file.name.startswith(".") or file.suffix.lower() not in suffixes:
            continue
        name = frame_of(file)
        if name in found:
            raise ValueError(
                f"{file.parent}: {found[name].name} and {file.name} are both of frame {name!r}; "
                "remove or rename one"
            )
        found[name] = contained(folder, file)
    return found
