"""What a memory system keeps, in bytes: on disk, and in main memory between two calls.

On disk are the files of the bank that the system reads. All frames are kept with their depth, since
a fused cloud is saved nowhere and is made of them again, only posed_frames needs no depth. Of these
files a system could lose some once it runs: it has use only for those that it may still give.

In main memory are the arrays that the system holds, with the room that they have reserved. Frames
that are decoded and kept for the next call are left out, and so is what Python takes for itself.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from anchorweave.geometry.tsdf import TsdfMap
from anchorweave.memory import Bank, GlobalCloud, LocalClouds, MapAndKeyframes, Memory, PosedFrames
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
    depth = not isinstance(memory, PosedFrames)
    shared = listed.stat().st_size if listed.exists() else 0
    disk = shared + sum(_frame_bytes(bank, number, depth) for number in range(len(bank)))
    given = _may_be_given(memory)
    # A reference is its colours; a local cloud is drawn from its depth as well.
    drawn = isinstance(memory, LocalClouds)
    kept = sum(_frame_bytes(bank, number, drawn) for number in given)
    return BytesKept(disk, kept, held_bytes(memory))


def _may_be_given(memory: Memory) -> list[int]:
    """The frames that a later retrieve may show or give."""
    count = len(memory.bank)
    if isinstance(memory, GlobalCloud) and not memory.config.global_cloud.references:
        return []
    if isinstance(memory, MapAndKeyframes):
        options = memory.config.map_and_keyframes
        key = memory.key_frames.numbers if options.episodic else []
        return sorted({*key, *range(max(count - options.working, 0), count)})
    if isinstance(memory, LocalClouds) and (numbers := memory.chosen_from()) is not None:
        return numbers
    return list(range(count))


def _frame_bytes(bank: Bank, number: int, depth: bool) -> int:
    folders = ("images", "depth") if depth else ("images",)
    return sum((bank.path / name / f"{number:06d}.png").stat().st_size for name in folders)


def held_bytes(thing: Any) -> int:
    """Bytes of all tensors, arrays and maps that an object of this package holds, each once."""
    return _held(thing, set())


def _held(thing: Any, met: set) -> int:
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
    own = thing.reserved_bytes if isinstance(thing, TsdfMap) else 0
    return own + sum(_held(part, met) for part in _parts(thing))


def _parts(thing: Any) -> list:
    if isinstance(thing, dict):
        return list(thing.values())
    if isinstance(thing, (list, tuple, set, frozenset)):
        return list(thing)
    if not type(thing).__module__.startswith("anchorweave."):
        return []
    if is_dataclass(thing):
        return [getattr(thing, field.name) for field in fields(thing)]
    return list(vars(thing).values())
