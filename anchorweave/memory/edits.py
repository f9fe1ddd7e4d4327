"""The edits that can be made to a remembered scene (Spatia's 3D-aware editing).

`memory/editing.py` applies them. Positions are in the coordinates of the memory's recording, as in
its transforms.json; lengths are in its unit, directions along its axes, angles in degrees and
right-handed, colours in [0, 1].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from anchorweave.geometry.selection import VERTICAL, Selection, Vector, rotation


@dataclass(frozen=True)
class Remove(Selection):
    """Removes the selected points; what other frames saw behind them is shown instead."""


@dataclass(frozen=True)
class Recolour(Selection):
    """Recolours the selected points.

    Args:
        colour: the new colour (red, green, blue) of all of them; or
        tint: a factor per channel; results are clipped to 1.

    Raises:
        ValueError: neither or both, a colour outside [0, 1], a negative tint.
    """

    colour: Vector | None = None
    tint: Vector | None = None

    def __post_init__(self):
        super().__post_init__()
        if (self.colour is None) == (self.tint is None):
            raise ValueError(
                f"recolour takes a colour or a tint, got colour={self.colour}, tint={self.tint}"
            )
        if self.colour is not None and not all(0 <= value <= 1 for value in self.colour):
            raise ValueError(f"recolour: colour={self.colour} must lie in [0, 1]")
        if self.tint is not None and not all(0 <= value < math.inf for value in self.tint):
            raise ValueError(f"recolour: tint={self.tint} must be 0 or more, and finite")


@dataclass(frozen=True)
class Move(Selection):
    """Moves the selected points as one rigid body; their old place is treated as a removal.

    Args:
        translation: shift, applied after the rotation.
        degrees: angle of rotation about `axis` through the selection's centre.
        axis: the rotation axis, of any length.

    Raises:
        ValueError: a shift or rotation that is not finite, or neither of them.
    """

    translation: Vector = (0.0, 0.0, 0.0)
    degrees: float = 0.0
    axis: Vector = VERTICAL

    def __post_init__(self):
        super().__post_init__()
        _check_motion("move", self.translation, self.axis, self.degrees)
        if not (any(self.translation) or self.degrees):
            raise ValueError("move: give a translation, or degrees to rotate by")


@dataclass(frozen=True)
class Add:
    """Adds the points of a PLY file to the scene.

    Args:
        ply: the file, in the unit of the memory.
        translation: where the origin of its coordinates is placed in the world.
        degrees: angle of rotation about `axis` through its origin, before the translation.
        axis: the rotation axis, of any length.

    Raises:
        ValueError: a shift or rotation that is not finite.
    """

    ply: str
    translation: Vector = (0.0, 0.0, 0.0)
    degrees: float = 0.0
    axis: Vector = VERTICAL

    def __post_init__(self):
        _check_motion("add", self.translation, self.axis, self.degrees)


Edit = Remove | Recolour | Move | Add
OPERATIONS = {"remove": Remove, "recolour": Recolour, "move": Move, "add": Add}


def _check_motion(name: str, translation: Vector, axis: Vector, degrees: float) -> None:
    if not all(map(math.isfinite, translation)):
        raise ValueError(f"{name}: translation={translation} must be finite")
    rotation(axis, degrees)
