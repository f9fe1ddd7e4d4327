"""Frames of recordings as one array per recording, decoded or rendered once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from anchorweave.eight_bit import to_bytes
from anchorweave.files import atomic_write
from anchorweave.recordings import open_recording
from anchorweave.recordings.reading import reading
from training.preparing.sharding import Shard, Tally
from training.preparing.sources import find_recordings


def cache_frames(
    source: str | Sequence[str],
    folder: Path,
    size: tuple[int, int],
    frames: int | None,
    shard: Shard,
) -> list[Path]:
    """Writes `NAME.npy`, uint8 [T, 3, H, W], for every recording that has none yet.

    Args:
        source: recordings, as accepted by `find_recordings`.
        folder: folder of the arrays; rejected if it contains arrays of another size.
        size: (height, width) that frames are cropped and resized to.
        frames: uses this many frames from the start of each recording, which must have them; None =
            all.
        shard: this process's share of the work.

    Returns:
        The arrays, by name of the recording, including those of other processes.

    Raises:
        ValueError: a recording that cannot be read or is too short, or arrays of another size or
            length.
    """
    recordings = find_recordings(source)
    folder.mkdir(parents=True, exist_ok=True)

    def write(entry: tuple[str, str]) -> Tally:
        name, path = entry
        file = folder / f"{name}.npy"
        if file.exists():
            try:
                shape = read_frames(file, mmap_mode="r").shape
            except ValueError as error:
                return Tally(failed={name: f"{error}; remove it to have it made again"})
            if shape[2:] != tuple(size):
                wrong = f"{file} holds frames of {shape[2:]}, not {size}; remove {folder}"
                return Tally(failed={name: wrong})
            # Not checked if all frames are used: opening a recording may take seconds.
            if frames is not None and shape[0] != frames:
                wrong = f"{file} holds {shape[0]} frames, not {frames}; remove {folder}"
                return Tally(failed={name: wrong})
            return Tally(there=1)
        try:
            with reading(path):
                recording = open_recording(path)
            if frames is not None and len(recording) < frames:
                return Tally(failed={name: f"has {len(recording)} frames, not {frames}"})
            with reading(path):
                clip = recording.clip(range(frames or len(recording)), size)
        except (ValueError, FileNotFoundError) as error:
            return Tally(failed={name: str(error)})
        with atomic_write(file) as aside, aside.open("wb") as stream:
            np.save(stream, to_bytes(clip.frames).numpy())
        return Tally(made=1)

    tally = shard.run(list(recordings.items()), write, "recordings")
    shard.finish(tally, f"recordings in {folder}")
    return [folder / f"{name}.npy" for name in recordings]


def read_frames(file: Path, mmap_mode: Literal["r"] | None = None) -> np.ndarray:
    """Reads an array written by `cache_frames`.

    Raises:
        ValueError: a truncated file, or another kind of array; the message names it.
    """
    try:
        array = np.load(file, mmap_mode)
        if array.ndim != 4 or array.dtype != np.uint8:
            raise ValueError(f"an array of {array.dtype} {array.shape}")
    # On damaged headers numpy may raise anything.
    except Exception as error:
        raise ValueError(f"{file} cannot be read as frames ({error})") from error
    return array


def random_crops(
    arrays: Sequence[UInt8[Tensor, "T 3 H W"]],
    count: int,
    frames: int,
    crop: tuple[int, int],
    generator: torch.Generator,
) -> UInt8[Tensor, "count 3 frames h w"]:
    """Random crops in space and time, each from a random recording, drawn with `generator`.

    They are cropped on the recordings' device.
    """

    def below(end: int) -> int:
        return int(torch.randint(end, (), generator=generator))

    crops = []
    for _ in range(count):
        array = arrays[below(len(arrays))]
        T, _, H, W = array.shape
        t, y, x = below(T - frames + 1), below(H - crop[0] + 1), below(W - crop[1] + 1)
        crops.append(array[t : t + frames, :, y : y + crop[0], x : x + crop[1]])
    return torch.stack(crops).transpose(1, 2)
