"""Who has seen what lies along a ray: the first surface that any memory knows there.

A point of a ray lies on a surface where some memory, looking at it, has about this depth there. It
is asked of views that are smaller than the frames, so that many memories are asked at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anchorweave.geometry.projection import project
from anchorweave.retrieval import CoarseViews

# Points along a ray, each so much farther than the one before; a surface is met at one of them.
STEP, NEAREST = 1.015, 1e-3
TOLERANCE = 0.02
# Points over which a surface is met, from the first on.
MET = 4
# Numbers that are held at once: memories x points.
AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Sight:
    """What memories know along R rays.

    Args:
        points: where each ray meets a surface [R, 3]; NaN where it meets none.
        seen_by: which memories see that surface [R, M].
    """

    points: Float[Tensor, "R 3"]
    seen_by: Bool[Tensor, "R M"]

    @property
    def met(self) -> Bool[Tensor, " R"]:
        """Which rays meet a surface [R]."""
        return self.seen_by.any(dim=1)


def look_along(
    views: CoarseViews, origin: Float[Tensor, "3"], directions: Float[Tensor, "R 3"]
) -> Sight:
    """The first surface along each of R rays, and who has seen it.

    Args:
        views: of all M memories.
        origin: of the rays.
        directions: of any length but 0.
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
    for ray in range(R):
        along = origin + far[:, None] * units[ray]
        hit = torch.zeros(steps, dtype=torch.bool)
        parts = list(_depths(views, along))
        for _, z, depth in parts:
            hit |= _near(z, depth).any(dim=0)
        if not hit.any():
            continue
        # A surface is met over some points; the one where it is met best is taken.
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
    """How far each point is from the nearest surface that a memory has there, relative."""
    apart = (z - depth).abs() / depth.clamp(min=1e-9)
    return torch.where((z > 0) & (depth > 0), apart, torch.inf).amin(dim=0)


def _depths(views: CoarseViews, points: Float[Tensor, "P 3"]):
    """For some memories at a time: which, depth of the points in each, depth that it has there."""
    height, width = views.cameras.size
    size = max(AT_ONCE // len(points), 1)
    for begin in range(0, len(views), size):
        members = slice(begin, begin + size)
        at, z = project(points, views.cameras[members])
        x, y = at.floor().unbind(-1)
        inside = (z > 0) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
        x, y = (v.nan_to_num(0).clamp(0, top - 1).long() for v, top in ((x, width), (y, height)))
        numbers = torch.arange(len(z))[:, None]
        depth = torch.where(inside, views.depth[members][numbers, y, x], 0.0)
        yield members, z, depth
