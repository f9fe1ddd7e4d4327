"""Path files: the cameras of a drawn path as a RealEstate10K camera file, readable by rollouts.

    python -m inference.rollout rollout.trajectory=OUTPUT/paths/NAME.txt rollout.unit=recording ...

One line per camera; lengths are in the recording's own unit and coordinates.
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
    """Writes OUTPUT/paths/NAME.txt.

    Args:
        output: output folder of the exploration.
        name: name of the path.
        cameras: [T].
        fps: frame rate from which the cameras' timestamps are computed.

    Raises:
        ValueError: an invalid name.
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
        ValueError: an invalid name, or a file that is not a camera file.
        FileNotFoundError: no such path.
    """
    return open_recording(named(output / PATHS, name, SUFFIX)).cameras


def take_upload(output: Path, name: str, content: bytes) -> str:
    """Stores an uploaded camera file as OUTPUT/paths/NAME.txt; returns its name.

    Args:
        output: output folder of the exploration.
        name: original file name, including suffix.
        content: content of the file.

    Raises:
        ValueError: an invalid name, or content that is not a camera file; nothing is stored.
    """
    file = named(output / PATHS, Path(name).stem, SUFFIX)
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as aside:
        aside.write_bytes(content)
        open_recording(aside)
    return file.stem
