"""Lists of frames, as recordings give them: which are complete, where they lie, in which order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

Missing = Literal["error", "skip"]
SHOWN_PROBLEMS = 5


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
    """The file that `name` in the file `listing` means, which may not lie outside its folder.

    Args:
        listing: the file that lists frames; names are relative to its folder.
        name: a path, perhaps without its suffix (as Blender's exporters write it).
        suffixes: what to try then.

    Raises:
        ValueError: the path, or what it links to, leaves the folder.
    """
    file = listing.parent / name
    if not file.is_file():
        file = next((p for s in suffixes if (p := Path(f"{file}{s}")).is_file()), file)
    if not file.resolve().is_relative_to(listing.parent.resolve()):
        raise ValueError(
            f"{listing}: {name} leaves the recording's folder (it leads to {file.resolve()}); "
            "move the files inside, paths are relative to the file that lists them"
        )
    return file


def natural(text: str) -> list[tuple[bool, int | str]]:
    """A sort key under which frame 9 comes before frame 10."""
    parts = re.split(r"(\d+)", text)
    return [(part.isdigit(), int(part) if part.isdigit() else part) for part in parts]
