"""The scale of a remembered scene."""

from __future__ import annotations

from anchorweave.memory import Bank
from anchorweave.world import scene_unit


def bank_unit(bank: Bank) -> float:
    """The scene unit, from the newest frame with depth.

    After a rotation in place the very newest may have none; the scene's scale is the same.

    Raises:
        ValueError: no frame has depth.
    """
    for i in reversed(range(len(bank))):
        if (depth := bank.depth(i)).any():
            return scene_unit(depth)
    raise ValueError(f"no frame of the memory bank {bank.path} has depth, so it has no scale")
