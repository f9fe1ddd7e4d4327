"""Selection of world points, by a box or by distance to the points of a PLY file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anchorweave.geometry.point_cloud import PointCloud, load_ply

Vector = tuple[float, float, float]
ORIGIN: Vector = (0.0, 0.0, 0.0)
# For a world whose cameras are upright: y points down.
VERTICAL = (0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Box:
    """An oriented box in the world; its faces count as inside.

    Args:
        centre: its centre, in the unit of the memory.
        size: full side lengths along its own x, y and z.
        yaw: rotation in degrees about `axis` through its centre, right-handed; 0 = axis-aligned.
        axis: the rotation axis, of any length.

    Raises:
        ValueError: a side that is not positive and finite, or a zero axis.
    """

    centre: Vector
    size: Vector
    yaw: float = 0.0
    axis: Vector = VERTICAL

    def __post_init__(self):
        if not all(map(math.isfinite, (*self.centre, self.yaw))):
            raise ValueError(f"{self}: the centre and the yaw must be finite")
        if not all(0 < side < math.inf for side in self.size):
            raise ValueError(f"{self}: the sides of a box must be positive and finite")
        rotation(self.axis, self.yaw)

    def about(self, origin: Vector) -> Vector:
        """Its centre in a world with the given `origin`."""
        x, y, z = (value - at for value, at in zip(self.centre, origin, strict=True))
        return (x, y, z)

    def contains(
        self, points: Float[Tensor, "*batch 3"], origin: Vector = ORIGIN
    ) -> Bool[Tensor, "*batch"]:
        """True for the points [..., 3] inside; `origin` as in `Selection.contains`."""
        # A row vector times the rotation is the inverse rotation of the point.
        own = (points - points.new_tensor(self.about(origin))) @ rotation(self.axis, self.yaw).to(
            points
        )
        return (own.abs() <= points.new_tensor(self.size) / 2).all(dim=-1)


@dataclass(frozen=True)
class Selection:
    """The points in a box, or those near the points of a PLY file.

    Args:
        box: the box.
        ply: instead of a box, a PLY file, such as a part cut out of a cloud in any viewer.
        radius: selects points within this distance of a point of `ply`, in the unit of the memory.

    Raises:
        ValueError: neither or both of `box` and `ply`; `ply` without a radius above 0.
    """

    box: Box | None = None
    ply: str | None = None
    radius: float | None = None

    def __post_init__(self):
        if (self.box is None) == (self.ply is None):
            raise ValueError(
                f"a selection needs either a box or a ply, got box={self.box}, ply={self.ply}"
            )
        if self.ply is None and self.radius is not None:
            raise ValueError(f"radius={self.radius} goes with a ply, not with a box")
        if self.ply is not None and not 0 < (self.radius or 0.0) < math.inf:
            raise ValueError(
                f"ply={self.ply} needs a radius above 0, at least the spacing of its points; "
                f"got {self.radius}"
            )

    @property
    def where(self) -> str:
        """Description of the selection, for messages."""
        return f"within {self.radius} of {self.ply}" if self.box is None else f"in {self.box}"

    def centre(self, origin: Vector = ORIGIN) -> Float[Tensor, "3"]:
        """The centre [3] of the box, or of the bounding box of the PLY file's points."""
        if self.box is not None:
            return torch.tensor(self.box.about(origin))
        points = self._cloud(origin).points
        return (points.amin(dim=0) + points.amax(dim=0)) / 2

    def contains(self, points: Float[Tensor, "P 3"], origin: Vector = ORIGIN) -> Bool[Tensor, " P"]:
        """True for the selected points [P, 3].

        Args:
            points: in their own world.
            origin: the origin of that world, in the coordinates of the box and the PLY file.

        Raises:
            FileNotFoundError: no such PLY file.
            ValueError: the PLY file holds no points.
        """
        if self.box is not None:
            return self.box.contains(points, origin)
        cloud = self._cloud(origin)
        near = cloud.points
        # Most points are far away: run the exact search only on the rest.
        low, high = near.amin(dim=0) - self.radius, near.amax(dim=0) + self.radius
        candidates = ((points >= low) & (points <= high)).all(dim=-1)
        candidates[candidates.clone()] = _distance(points[candidates], cloud) <= self.radius
        return candidates

    def _cloud(self, origin: Vector) -> PointCloud:
        if origin not in self._clouds:
            cloud = load_ply(Path(self.ply), torch.float64)
            points = (cloud.points - cloud.points.new_tensor(origin)).float()
            self._clouds[origin] = PointCloud(points, cloud.colours)
        return self._clouds[origin]

    @cached_property
    def _clouds(self) -> dict[Vector, PointCloud]:
        return {}


def rotation(axis: Vector, degrees: float) -> Float[Tensor, "3 3"]:
    """The right-handed rotation matrix [3, 3] about an axis through the origin.

    Raises:
        ValueError: a zero axis, or an angle that is not finite.
    """
    length = math.hypot(*axis)
    if not (0 < length < math.inf and math.isfinite(degrees)):
        raise ValueError(
            f"cannot rotate by {degrees} degrees about {axis}: the axis must not be zero and the "
            "angle must be finite"
        )
    x, y, z = (math.radians(degrees) * value / length for value in axis)
    cross = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
    return torch.linalg.matrix_exp(cross).float()


def moved(
    points: Float[Tensor, "P 3"],
    centre: Float[Tensor, "3"],
    turn: Float[Tensor, "3 3"],
    translation: Vector,
) -> Float[Tensor, "P 3"]:
    """Points [P, 3] rotated about `centre`, then translated."""
    return (points - centre) @ turn.mT + centre + points.new_tensor(translation)


def _distance(points: Float[Tensor, "P 3"], cloud: PointCloud) -> Float[Tensor, " P"]:
    """The distance of each point to the nearest one of `cloud`."""
    import open3d as o3d

    ours, theirs = o3d.geometry.PointCloud(), o3d.geometry.PointCloud()
    ours.points = o3d.utility.Vector3dVector(points.double().numpy())
    theirs.points = o3d.utility.Vector3dVector(cloud.points.double().numpy())
    return torch.from_numpy(np.asarray(ours.compute_point_cloud_distance(theirs))).float()
