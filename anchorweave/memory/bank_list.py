"""The list of a bank's frames on disk: a transforms.json that grows by one line per append.

    {"bank_version": 2, "depth_unit_scale_factor": 0.001, "frames": [
    {frame}, {frame},
    {frame}
    ]}

An append copies the existing list, adds its line and renames the copy into place: nothing is parsed
or serialised again, and copying a few hundred bytes per frame is cheap next to the images being
added. Concurrent readers, this code or another tool, see the list either before or after the
append, each with all of its images.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from anchorweave.files import atomic_write, bytes_sum
from anchorweave.geometry.cameras import Cameras, intrinsics
from anchorweave.recordings.base import posed_cameras
from anchorweave.recordings.nerfstudio import OPENGL, TRANSFORMS
from anchorweave.recordings.transforms_json import finite_number

# Incremented when the meaning of the files changes. Banks without a version are version 1; their
# first append rewrites the list, everything else is unchanged.
VERSION, VERSION_KEY = 2, "bank_version"
READABLE = (1, VERSION)
UNIT = "depth_unit_scale_factor"
# Origin of the world that the cameras are read in; listed if it is not 0 0 0.
ORIGIN_KEY = "bank_origin"
TAIL = b"\n]}\n"
# Checksums of a frame's two images, by name, and of its entry; banks of version 1 have none.
SUMS, ENTRY = "sums", "entry"


@dataclass(frozen=True)
class BankList:
    """The content of a list.

    Args:
        version: version of the layout.
        depth_unit: length of one depth step.
        entries: one per frame.
        bytes: size of the file.
        marked: whether it is marked as a bank's list; the oldest ones are not.
        origin: origin of the cameras' world, in the coordinates of the poses.
    """

    version: int
    depth_unit: float
    entries: list[dict[str, Any]]
    bytes: int
    marked: bool
    origin: tuple[float, float, float]


def image_name(number: int) -> str:
    """Relative path of a frame's image."""
    return f"images/{number:06d}.png"


def depth_name(number: int) -> str:
    """Relative path of a frame's depth."""
    return f"depth/{number:06d}.png"


def read_list(folder: Path) -> BankList:
    """The list of the bank in `folder`.

    Raises:
        ValueError: it is damaged, has another layout, or belongs to a recording rather than a bank.
    """
    file = folder / TRANSFORMS
    stored = file.read_bytes()
    try:
        meta = json.loads(stored)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file}: is no valid json ({error})") from error
    if not isinstance(meta, dict) or not isinstance(meta.get("frames"), list):
        raise ValueError(f"{file}: lists no frames, unlike the list of a memory bank")
    version = meta.get(VERSION_KEY, 1)
    if version not in READABLE:
        raise ValueError(
            f"the memory bank {folder} has layout {version}, but this code reads layouts "
            f"{' and '.join(map(str, READABLE))}; use the code that made it, or start another with "
            "memory.path="
        )
    entries, unit = meta["frames"], meta.get(UNIT)
    if entries and not any(isinstance(e, dict) and "depth_file_path" in e for e in entries):
        raise ValueError(
            f"{folder}: is a recording without depth, not a memory bank; pass it as "
            "source= and let perception estimate the depth"
        )
    if type(unit) not in (int, float) or not 0 < unit < math.inf:
        raise ValueError(f"{file}: {UNIT} is {unit!r}, expected a length above 0")
    for number, entry in enumerate(entries):
        paths = {"file_path": image_name(number), "depth_file_path": depth_name(number)}
        if not isinstance(entry, dict) or any(entry.get(k) != v for k, v in paths.items()):
            raise ValueError(
                f"{folder}: is a recording, not a memory bank (in a bank, frame {number} would be "
                f"{paths['file_path']} and {paths['depth_file_path']}); pass it as source="
            )
    origin = _origin(file, meta)
    for number, entry in enumerate(entries):
        sums = entry.get(SUMS, {})
        if (
            not isinstance(sums, dict)
            or sums.get(ENTRY, actual := entry_sum(entry, unit)) != actual
        ):
            raise ValueError(
                f"{file}: frame {number} is not listed as it was written (its camera, its name, "
                f"its sums or {UNIT} changed since); put the bank's own list back, or begin "
                "another with memory.path="
            )
    return BankList(version, float(unit), entries, len(stored), VERSION_KEY in meta, origin)


def entry_sum(entry: dict[str, Any], depth_unit: float) -> str:
    """Checksum of a frame's entry, including the depth unit."""
    pictures = {name: checksum for name, checksum in entry.get(SUMS, {}).items() if name != ENTRY}
    content = {**entry, SUMS: pictures, UNIT: float(depth_unit)}
    return bytes_sum(json.dumps(content, sort_keys=True).encode())


def write_list(
    folder: Path,
    entries: Sequence[dict],
    depth_unit: float,
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> int:
    """Writes a whole list; returns its size in bytes."""
    about = {VERSION_KEY: VERSION, UNIT: depth_unit}
    if any(origin):
        about[ORIGIN_KEY] = list(origin)
    head = f'{json.dumps(about)[:-1]}, "frames": ['
    line = f"\n{_line(entries)}" if entries else ""
    stored = (head + line).encode() + TAIL
    with atomic_write(folder / TRANSFORMS) as aside:
        aside.write_bytes(stored)
    return len(stored)


def extend_list(folder: Path, entries: Sequence[dict]) -> int:
    """Adds frames to a non-empty list of the current version; returns its size in bytes.

    Raises:
        ValueError: the list does not end like those that this code writes.
    """
    file = folder / TRANSFORMS
    with atomic_write(file) as aside:
        shutil.copyfile(file, aside)
        with aside.open("r+b") as list_:
            list_.seek(-len(TAIL), os.SEEK_END)
            if list_.read() != TAIL:
                raise ValueError(
                    f"{file} was written by another program, so it cannot be extended; restore the "
                    "bank's own list, or start another with memory.path="
                )
            list_.seek(-len(TAIL), os.SEEK_END)
            list_.write(f",\n{_line(entries)}".encode() + TAIL)
            return list_.tell()


def cameras_of(
    folder: Path, entries: Sequence[dict], origin: tuple[float, float, float]
) -> Cameras:
    """The cameras of frames in the bank's world, the same whether frames are read or added.

    Raises:
        ValueError: an invalid pose or invalid intrinsics, or frames of several sizes.
    """
    file, names = folder / TRANSFORMS, [entry["file_path"] for entry in entries]
    try:
        sizes = {(entry["h"], entry["w"]) for entry in entries}
        c2w = torch.tensor([e["transform_matrix"] for e in entries], dtype=torch.float64) @ OPENGL
        K = torch.stack([intrinsics(e["fl_x"], e["fl_y"], e["cx"], e["cy"]) for e in entries])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{file}: a frame's camera is incomplete ({error!r})") from error
    if len(sizes) != 1:
        raise ValueError(f"{file}: lists frames of several sizes, {sorted(sizes)}")
    return posed_cameras(file, names, c2w, K, next(iter(sizes)), origin)


def _origin(file: Path, meta: dict) -> tuple[float, float, float]:
    origin = meta.get(ORIGIN_KEY, [0.0, 0.0, 0.0])
    if not isinstance(origin, list) or len(origin) != 3:
        raise ValueError(f"{file}: {ORIGIN_KEY} is {origin!r}, expected three numbers")
    x, y, z = (
        finite_number(str(file), dict(zip("xyz", origin, strict=True)), axis) for axis in "xyz"
    )
    return (x, y, z)


def _line(entries: Sequence[dict]) -> str:
    return ", ".join(json.dumps(entry) for entry in entries)
