"""Depth maps on disk: 16-bit images and NumPy arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.images import SATURATED, read_depth

DEPTH_SUFFIXES = (".png", ".npy")
# Beyond this, squares and sums overflow in float32; no real scene is this large.
FARTHEST = 1e12


def check_depth_unit(where: object, unit: float) -> float:
    """`unit`, the length of one depth step, after a plausibility check.

    Raises:
        ValueError: it is not positive, or so large or small that float32 cannot hold such depths.
    """
    if not 1 / FARTHEST <= unit <= FARTHEST / SATURATED:
        raise ValueError(
            f"{where}: one step of depth is {unit:g} units of the poses, which is implausible; "
            "it is 0.001 for millimetres and poses in metres"
        )
    return unit


def read_depth_file(path: Path, unit: float, stated: bool = True) -> Float[Tensor, "h w"]:
    """Depth [h, w] in the unit of the poses; 0 where the file has 0, NaN, infinity or 65535.

    Args:
        path: a 16-bit greyscale image, or a numeric array [h, w] (or with one channel) as .npy.
        unit: length of one step of the file.
        stated: whether the recording itself states that unit, or only its format.

    Raises:
        ValueError: no such file, negative or implausible depths, or floats of an unknown unit.
    """
    if path.suffix.lower() != ".npy":
        return read_depth(path, unit)
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    # On damaged headers numpy may raise anything.
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
            f"{path}: is depth in floats of an unspecified unit; write the length of 1.0 "
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
