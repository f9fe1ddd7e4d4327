"""Depth maps on disk: 16-bit images and NumPy arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.images import SATURATED, read_depth

DEPTH_SUFFIXES = (".png", ".npy")
# Beyond, the squares and sums of float32 overflow; no unit of length makes a room so large.
FARTHEST = 1e12


def check_depth_unit(where: object, unit: float) -> float:
    """`unit`, the length of one step of depth, after a check that depths in it can be.

    Raises:
        ValueError: it is not above 0, or so long or short that float32 cannot hold such depths.
    """
    if not 1 / FARTHEST <= unit <= FARTHEST / SATURATED:
        raise ValueError(
            f"{where}: one step of depth is {unit:g} units of the poses long, which no recording "
            "is in; it is 0.001 for millimetres and poses in metres"
        )
    return unit


def read_depth_file(path: Path, unit: float, stated: bool = True) -> Float[Tensor, "h w"]:
    """Depth [h, w] in the unit of the poses; 0 where the file says 0, NaN, infinity or 65535.

    Args:
        path: a 16-bit grey image, or an array [h, w] (or with one channel) of numbers in a .npy.
        unit: length of one step of the file.
        stated: whether the recording says that unit, or only its format does.

    Raises:
        ValueError: no such file, negative or impossible depths, or floats of an unknown unit.
    """
    if path.suffix.lower() != ".npy":
        return read_depth(path, unit)
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    # By where a header is damaged, numpy raises anything.
    except Exception as error:
        raise ValueError(f"{path}: cannot be read as a NumPy array ({error})") from error
    if stored.ndim == 3 and 1 in (stored.shape[0], stored.shape[2]):
        stored = stored.squeeze(0 if stored.shape[0] == 1 else 2)
    if stored.ndim != 2 or stored.dtype.kind not in "uif" or not stored.size:
        raise ValueError(
            f"{path}: holds {stored.dtype} {list(stored.shape)}, expected numbers [height, width]"
        )
    if stored.dtype.kind == "f" and not stated:
        raise ValueError(
            f"{path}: is depth in floats, of which nothing says the unit; write the length of 1.0 "
            "in units of the poses to depth_unit_scale_factor (1 if they are the same), or set "
            "recording.depth_scale=1"
        )
    depth = np.array(stored, dtype=np.float64)
    unknown = stored == SATURATED if stored.dtype == np.uint16 else ~np.isfinite(depth)
    depth[unknown] = 0
    depth *= unit
    if depth.min() < 0 or depth.max() > FARTHEST:
        raise ValueError(f"{path}: depths span [{depth.min():g}, {depth.max():g}]")
    return torch.from_numpy(depth).float()
