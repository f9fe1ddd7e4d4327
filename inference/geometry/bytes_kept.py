"""Storage of a memory system in bytes: on disk, and in main memory between two calls.

Disk counts the files of the bank that the system reads. All frames are stored with their depth,
because fused clouds are not saved but rebuilt from them; only posed_frames needs no depth. Some
systems could discard part of these files at run time, as they only use frames they may still
return.

Main memory counts the arrays that the system holds, including reserved capacity. Cached decoded
frames and Python's own overhead are not counted.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from anchorweave.memory import Bank, Memory
from anchorweave.recordings.nerfstudio import TRANSFORMS


@dataclass(frozen=True)
class BytesKept:
    """Storage for the frames remembered so far.

    Args:
        disk: size of the bank's files that the system reads.
        given: the part of it that belongs to frames it may still show or return.
        memory: main memory.
    """

    disk: int
    given: int
    memory: int


def bytes_kept(memory: Memory) -> BytesKept:
    """Measures the current storage of `memory`."""
    bank, listed = memory.bank, memory.bank.path / TRANSFORMS
    disk = listed.stat().st_size if listed.exists() else 0
    disk += sum(_frame_bytes(bank, number, memory.reads_depth) for number in range(len(bank)))
    # A reference needs only its colours; a local cloud is rendered from its depth as well.
    depth = memory.draws_from_depth
    given = sum(_frame_bytes(bank, number, depth) for number in memory.may_give())
    # A system may be defined in another package.
    own = type(memory).__module__.partition(".")[0]
    return BytesKept(disk, given, held_bytes(memory, {"anchorweave", own}))


def _frame_bytes(bank: Bank, number: int, depth: bool) -> int:
    folders = ("images", "depth") if depth else ("images",)
    return sum((bank.path / name / f"{number:06d}.png").stat().st_size for name in folders)


def held_bytes(thing: Any, packages: Collection[str] = ("anchorweave",)) -> int:
    """Total size of all tensors and arrays that an object holds, each counted once.

    Args:
        thing: the object. Memory not visible as tensors or arrays is reported by its
            `reserved_bytes`.
        packages: packages whose objects are traversed.
    """
    return _held(thing, set(), packages)


def _held(thing: Any, met: set, packages: Collection[str]) -> int:
    if id(thing) in met or isinstance(thing, (str, bytes, int, float, Path)):
        return 0
    met.add(id(thing))
    if isinstance(thing, Tensor):
        storage = thing.untyped_storage()
        # Slices and reshaped views share their storage.
        place = ("storage", storage.data_ptr())
        if place in met:
            return 0
        met.add(place)
        return storage.nbytes()
    if isinstance(thing, np.ndarray):
        return thing.nbytes
    parts = _parts(thing, packages)
    return getattr(thing, "reserved_bytes", 0) + sum(_held(part, met, packages) for part in parts)


def _parts(thing: Any, packages: Collection[str]) -> list:
    if isinstance(thing, dict):
        return list(thing.values())
    if isinstance(thing, (list, tuple, set, frozenset)):
        return list(thing)
    if type(thing).__module__.partition(".")[0] not in packages:
        return []
    if is_dataclass(thing):
        return [getattr(thing, field.name) for field in fields(thing)]
    return list(vars(thing).values())
