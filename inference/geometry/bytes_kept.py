"""What a memory system keeps, in bytes: on disk, and in main memory between two calls.

On disk are the files of the bank that the system reads. All frames are kept with their depth, since
a fused cloud is saved nowhere and is made of them again, only posed_frames needs no depth. Of these
files a system could lose some once it runs: it has use only for those that it may still give.

In main memory are the arrays that the system holds, with the room that they have reserved. Frames
that are decoded and kept for the next call are left out, and so is what Python takes for itself.
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
    """What is kept of the frames that were remembered so far.

    Args:
        disk: of the bank's files that the system reads.
        given: of those files, the ones of frames that it may still show or give.
        memory: of main memory.
    """

    disk: int
    given: int
    memory: int


def bytes_kept(memory: Memory) -> BytesKept:
    """Counts what `memory` keeps now."""
    bank, listed = memory.bank, memory.bank.path / TRANSFORMS
    disk = listed.stat().st_size if listed.exists() else 0
    disk += sum(_frame_bytes(bank, number, memory.reads_depth) for number in range(len(bank)))
    # A reference is its colours; a local cloud is drawn from its depth as well.
    depth = memory.draws_from_depth
    kept = sum(_frame_bytes(bank, number, depth) for number in memory.may_give())
    # A system may be of another package than this one.
    own = type(memory).__module__.partition(".")[0]
    return BytesKept(disk, kept, held_bytes(memory, {"anchorweave", own}))


def _frame_bytes(bank: Bank, number: int, depth: bool) -> int:
    folders = ("images", "depth") if depth else ("images",)
    return sum((bank.path / name / f"{number:06d}.png").stat().st_size for name in folders)


def held_bytes(thing: Any, packages: Collection[str] = ("anchorweave",)) -> int:
    """Bytes of all tensors and arrays that an object holds, each once.

    Args:
        thing: the object. What takes room that none of its tensors and arrays show says how much by
            `reserved_bytes`.
        packages: whose objects are looked into.
    """
    return _held(thing, set(), packages)


def _held(thing: Any, met: set, packages: Collection[str]) -> int:
    if id(thing) in met or isinstance(thing, (str, bytes, int, float, Path)):
        return 0
    met.add(id(thing))
    if isinstance(thing, Tensor):
        storage = thing.untyped_storage()
        # Slices and reshaped views share what they show.
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
