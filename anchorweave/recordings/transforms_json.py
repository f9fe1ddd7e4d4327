"""What a transforms.json holds, after a check that every value is of the kind it should be."""

from __future__ import annotations

import json
import math
from pathlib import Path


def read_meta(file: Path) -> dict:
    """The parsed json, whose `frames` are one or more objects with a path and a pose each.

    Raises:
        ValueError: no valid json, no list of frames, or an entry that is no object, lacks a key or
            has something else in the place of a path.
    """
    try:
        meta = json.loads(file.read_text())
    except ValueError as error:
        raise ValueError(f"{file}: is no valid json ({error})") from error
    frames = meta.get("frames") if isinstance(meta, dict) else None
    if not frames or not isinstance(frames, list):
        raise ValueError(
            f"{file}: lists no frames; expected the keys of nerfstudio or instant-ngp, with a list "
            "under frames"
        )
    for number, frame in enumerate(frames):
        where = f"{file}: entry {number} of frames"
        if not isinstance(frame, dict):
            raise ValueError(
                f"{where} is {frame!r}, expected an object with file_path and transform_matrix"
            )
        if absent := {"file_path", "transform_matrix"} - set(frame):
            raise ValueError(f"{where} has no {' and no '.join(sorted(absent))}")
        for key in {"file_path", "depth_file_path"} & set(frame):
            if not isinstance(frame[key], str) or not frame[key]:
                raise ValueError(f"{where} has {key} {frame[key]!r}, expected a path in quotes")
    return meta


def finite_number(where: str, entry: dict, key: str, default: float | int = math.nan) -> float:
    """The number under `key` of `entry`, or `default` where it has none.

    Raises:
        ValueError: no finite number; `where` names the file and frame.
    """
    value = entry.get(key, default)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{where}: {key} is {value!r}, expected a finite number")
    return number
