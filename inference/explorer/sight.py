"""Which memories have seen what lies along a ray: the first surface that any memory has there.

A point of a ray is on a surface if some memory that looks at it has about this depth there. This
uses views smaller than the frames, so that many memories can be tested at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.projection import project
from anchorweave.retrieval import CoarseViews

# Points along a ray at geometrically increasing distances; a surface is hit near one of them.
STEP, NEAREST = 1.015, 1e-3
TOLERANCE = 0.02
# Number of points after the first hit among which the best one is chosen.
MET = 4
# Number of memories x points processed at once.
AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Sight:
    """What memories know along R rays.

    Args:
        points: where each ray hits a surface [R, 3]; NaN if it hits none.
        seen_by: which memories see that surface [R, M].
    """

    points: Float[Tensor, "R 3"]
    seen_by: Bool[Tensor, "R M"]

    @property
    def met(self) -> Bool[Tensor, " R"]:
        """Which rays hit a surface [R]."""
        return self.seen_by.any(dim=1)


def look_along(
    views: CoarseViews, origin: Float[Tensor, "3"], directions: Float[Tensor, "R 3"]
) -> Sight:
    """The first surface along each of R rays, and which memories have seen it.

    Args:
        views: views of all M memories.
        origin: origin of the rays.
        directions: non-zero directions of the rays.
    """
    R, M = len(directions), len(views)
    points = torch.full((R, 3), torch.nan)
    seen = torch.zeros(R, M, dtype=torch.bool)
    if not M or not views.depth.any():
        return Sight(points, seen)
    reach = float(views.depth.max()) * 2
    reach += float((views.cameras.centres - origin).norm(dim=-1).max())
    steps = int(torch.tensor(1 / NEAREST).log() / torch.tensor(STEP).log()) + 2
    far = reach * STEP ** -torch.arange(steps - 1, -1, -1).float()
    units = torch.nn.functional.normalize(directions.float(), dim=-1)
    for ray, meets in enumerate(_meets(views.cameras, origin, units)):
        along = origin + far[:, None] * units[ray]
        hit = torch.zeros(steps, dtype=torch.bool)
        parts = list(_depths(views, along, meets.nonzero().flatten()))
        for _, z, depth in parts:
            hit |= _near(z, depth).any(dim=0)
        if not hit.any():
            continue
        # A surface is hit over several points; the best one is taken.
        first = int(hit.nonzero()[0])
        window = slice(first, first + MET)
        apart = torch.stack([_apart(z[:, window], depth[:, window]) for _, z, depth in parts])
        best = first + int(apart.amin(dim=0).argmin())
        points[ray] = origin + far[best] * units[ray]
        around = slice(max(best - 1, 0), best + 2)
        for members, z, depth in parts:
            seen[ray, members] = _near(z[:, around], depth[:, around]).any(dim=1)
    return Sight(points, seen)


def _near(z: Tensor, depth: Tensor) -> Tensor:
    return (z > 0) & (depth > 0) & ((z - depth).abs() <= TOLERANCE * depth)


def _apart(z: Tensor, depth: Tensor) -> Tensor:
    """Relative distance of each point to the nearest surface that a memory has there."""
    apart = (z - depth).abs() / depth.clamp(min=1e-9)
    return torch.where((z > 0) & (depth > 0), apart, torch.inf).amin(dim=0)


def _meets(
    cameras: Cameras, origin: Float[Tensor, "3"], units: Float[Tensor, "R 3"]
) -> Bool[Tensor, "R M"]:
    """Whether each ray passes through each camera's frustum, as it misses most of them."""
    height, width = cameras.size
    # A point is visible if it is on the inner side of four planes through the camera centre, and in
    # front of it: functions that are linear along the ray are >= 0.
    sides = torch.eye(3).new_tensor(
        [[1.0, 0, 0], [-1, 0, width], [0, 1, 0], [0, -1, height], [0, 0, 1]]
    )
    w2c = cameras.w2c
    normals = sides @ cameras.K  # [M, 5, 3], in each camera's own axes
    begin = (normals @ (w2c[:, :3, :3] @ origin + w2c[:, :3, 3])[..., None]).squeeze(-1)
    slope = torch.einsum("msc,mcw,rw->rms", normals, w2c[:, :3, :3], units)
    zero = -begin / torch.where(slope == 0, torch.ones_like(slope), slope)
    # Interval in which the ray is on the inner side, with tolerance for rounding.
    first = torch.where(slope > 0, zero, 0.0).amax(dim=-1)
    last = torch.where(slope < 0, zero, torch.inf).amin(dim=-1)
    outside = ((slope == 0) & (begin < 0)).any(dim=-1)
    return ~outside & (last >= 0) & (first <= last * (1 + 1e-4))


def _depths(views: CoarseViews, points: Float[Tensor, "P 3"], members: Int64[Tensor, " m"]):
    """For some memories at a time: indices, depth of the points in each, depth stored there."""
    height, width = views.cameras.size
    for part in members.split(max(AT_ONCE // len(points), 1)):
        at, z = project(points, views.cameras[part])
        x, y = at.floor().unbind(-1)
        inside = (z > 0) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
        x, y = (v.nan_to_num(0).clamp(0, top - 1).long() for v, top in ((x, width), (y, height)))
        depth = torch.where(inside, views.depth[part[:, None], y, x], 0.0)
        yield part, z, depth
