"""Reads a transforms.json and checks the types of all values."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

DEPTH_PATHS = ("depth_file_path", "depth_path")
DEPTH_UNITS = ("depth_unit_scale_factor", "integer_depth_scale")
PATHS = ("file_path", *DEPTH_PATHS, "mask_path")
# Keys that are read.
READ = {
    *PATHS,
    *DEPTH_UNITS,
    *("frames", "transform_matrix", "enable_depth_loading"),
    *("fl_x", "fl_y", "cx", "cy", "w", "h", "camera_angle_x", "camera_model", "is_fisheye"),
    *("k1", "k2", "k3", "k4", "p1", "p2"),
}
# Keys that would change the images or poses but are not supported.
UNSUPPORTED = {
    *("k5", "k6", "s1", "s2", "s3", "s4", "b1", "b2", "rolling_shutter", "fisheye_crop_radius"),
    *("ftheta_p0", "ftheta_p1", "ftheta_p2", "ftheta_p3", "ftheta_p4", "latlong"),
    *("equirectangular", "white_transparent", "black_transparent", "mask_color"),
}
# Ignored keys that resemble known ones.
HARMLESS = {
    *("camera_angle_y", "camera_type", "has_mask", "ply_file_path", "normal_file_path"),
    *("semantic_file_path", "normal_path", "depth_unit"),
}
# Unknown keys more similar to a known one than this count as misspellings.
ALIKE = 0.8


def read_meta(file: Path) -> dict:
    """The parsed json, whose `frames` are one or more objects with a path and a pose each.

    Raises:
        ValueError: invalid json, no list of frames, an entry that is not an object, lacks a key or
            has a path of the wrong type, an unsupported key that would change the result, or a key
            that resembles a known one.
    """
    try:
        # From bytes: json then detects UTF-8 and UTF-16, with or without a byte order mark.
        meta = json.loads(file.read_bytes())
    except RecursionError as error:
        raise ValueError(f"{file}: is not valid json (it is nested too deeply)") from error
    except ValueError as error:
        raise ValueError(f"{file}: is not valid json ({error})") from error
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
            # Report a misspelt key rather than a missing one.
            _check_keys(where, frame)
            raise ValueError(f"{where} has no {' and no '.join(sorted(absent))}")
        for key in set(PATHS) & set(frame):
            if not isinstance(frame[key], str) or not frame[key]:
                raise ValueError(f"{where} has {key} {frame[key]!r}, expected a path in quotes")
    _check_keys(f"{file}", meta)
    checked: set[str] = set()
    for number, frame in enumerate(frames):
        if new := {key: value for key, value in frame.items() if key not in checked}:
            _check_keys(f"{file}: entry {number} of frames", new)
            # Keys that were found harmless need no second check.
            checked |= set(new) - UNSUPPORTED
    return meta


def finite_number(where: str, entry: Mapping, key: str, default: float | int = math.nan) -> float:
    """The number under `key` of `entry`, or `default` if it is missing.

    Raises:
        ValueError: not a finite number; `where` names the file and frame.
    """
    value = entry.get(key, default)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{where}: {key} is {value!r}, expected a finite number")
    return number


def depth_path(where: str, frame: Mapping) -> str | None:
    """The path of a frame's depth map, under nerfstudio's key or instant-ngp's; None = no depth.

    Raises:
        ValueError: both keys are present and differ.
    """
    return _one_of(where, {key: frame[key] for key in DEPTH_PATHS if key in frame})


def depth_unit(where: str, meta: Mapping) -> float | None:
    """Length of one depth step, under nerfstudio's key or instant-ngp's; None = not stated.

    Raises:
        ValueError: not a number, or both keys are present and differ.
    """
    return _one_of(where, {k: finite_number(where, meta, k) for k in DEPTH_UNITS if k in meta})


def _one_of(where: str, found: Mapping):
    if len(set(found.values())) > 1:
        stated = " and ".join(f"{key} {value!r}" for key, value in found.items())
        raise ValueError(f"{where}: has {stated}, which differ; keep one of them")
    return next(iter(found.values()), None)


def _check_keys(where: str, entry: Mapping) -> None:
    for key, value in entry.items():
        if key in UNSUPPORTED and _says_something(value):
            raise ValueError(
                f"{where}: {key} is {value!r}, which is not supported; undistort or composite the "
                "images, and remove the key"
            )
        if key in READ | UNSUPPORTED | HARMLESS:
            continue
        like = _alike(key)
        if like or any(word in _bare(key) for word in ("depth", "mask")):
            hint = f"; did you mean {like}?" if like else ""
            raise ValueError(
                f"{where}: has the unknown key {key!r}{hint} (known keys of this kind: "
                f"{', '.join((*PATHS, *DEPTH_UNITS))}); rename it, or remove it if it is not needed"
            )


def _says_something(value) -> bool:
    if isinstance(value, Iterable) and not isinstance(value, str):
        return any(map(_says_something, value))
    return bool(value)


def _alike(key: str) -> str | None:
    bare = {_bare(name_read): name_read for name_read in READ}
    if _bare(key) in bare:
        return bare[_bare(key)]
    # Short names are all similar to each other: k1 and k7, w and h.
    long = [name for name in bare if len(name) > 4]
    matches = difflib.get_close_matches(_bare(key), long, 1, ALIKE) if len(key) > 4 else []
    return bare[matches[0]] if matches else None


def _bare(key: str) -> str:
    return "".join(c for c in key.lower() if c.isalnum())
