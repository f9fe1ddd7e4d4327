"""Path files: the cameras of a drawn path as a RealEstate10K camera file, which rollouts read.

    python -m inference.rollout rollout.trajectory=OUTPUT/paths/NAME.txt rollout.unit=recording ...

A line a camera; lengths are in the recording's own unit and coordinates.
"""

from __future__ import annotations

from pathlib import Path

from anchorweave.files import atomic_write
from anchorweave.geometry.cameras import Cameras, inverse_rigid
from anchorweave.recordings import open_recording
from inference.explorer.places import PATHS, named

SUFFIX = ".txt"
MICROSECONDS = 1_000_000


def save_path(output: Path, name: str, cameras: Cameras, fps: int) -> Path:
    """Write OUTPUT/paths/NAME.txt.

    Args:
        output: of the exploration.
        name: of the path.
        cameras: [T].
        fps: by which the cameras' times are told.

    Raises:
        ValueError: a name that is none.
    """
    file = named(output / PATHS, name, SUFFIX)
    file.parent.mkdir(parents=True, exist_ok=True)
    height, width = cameras.size
    w2c = inverse_rigid(cameras.recorded_c2w)
    lines = []
    for i, camera in enumerate(cameras):
        (fx, _, cx), (_, fy, cy), _ = camera.K.double().tolist()
        lens = [fx / width, fy / height, cx / width, cy / height, 0.0, 0.0]
        numbers = [*lens, *w2c[i, :3].flatten().tolist()]
        lines.append(" ".join([str(i * MICROSECONDS // fps), *map(repr, numbers)]))
    with atomic_write(file) as aside:
        aside.write_text("\n".join(lines) + "\n")
    return file


def saved_paths(output: Path) -> list[str]:
    """The names of the saved paths."""
    return sorted(file.stem for file in (output / PATHS).glob(f"*{SUFFIX}"))


def load_path(output: Path, name: str) -> Cameras:
    """The cameras [T] of OUTPUT/paths/NAME.txt.

    Raises:
        ValueError: a name that is none, or a file that is no camera file.
        FileNotFoundError: no such path.
    """
    return open_recording(named(output / PATHS, name, SUFFIX)).cameras


def take_upload(output: Path, name: str, content: bytes) -> str:
    """Keep a camera file that came from the page as OUTPUT/paths/NAME.txt; returns its name.

    Args:
        output: of the exploration.
        name: of the file as it was called, suffix included.
        content: of the file.

    Raises:
        ValueError: a name that is none, or content that is no camera file; nothing is kept.
    """
    file = named(output / PATHS, Path(name).stem, SUFFIX)
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as aside:
        aside.write_bytes(content)
        open_recording(aside)
    return file.stem
