"""Who has seen what lies along a ray: the first surface that any memory knows there.

A point of a ray lies on a surface where some memory, looking at it, has about this depth there. It
is asked of views that are smaller than the frames, so that many memories are asked at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from anchorweave.geometry.cameras import Cameras
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
    for ray, meets in enumerate(_meets(views.cameras, origin, units)):
        along = origin + far[:, None] * units[ray]
        hit = torch.zeros(steps, dtype=torch.bool)
        parts = list(_depths(views, along, meets.nonzero().flatten()))
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


def _meets(
    cameras: Cameras, origin: Float[Tensor, "3"], units: Float[Tensor, "R 3"]
) -> Bool[Tensor, "R M"]:
    """Whether each ray passes through what each camera sees: most of many see nothing of it."""
    height, width = cameras.size
    # A point is seen where it lies on the inner side of four planes through the camera's centre,
    # and before it: numbers that change evenly along the ray are 0 or more.
    sides = torch.eye(3).new_tensor(
        [[1.0, 0, 0], [-1, 0, width], [0, 1, 0], [0, -1, height], [0, 0, 1]]
    )
    w2c = cameras.w2c
    normals = sides @ cameras.K  # [M, 5, 3], in each camera's own axes
    begin = (normals @ (w2c[:, :3, :3] @ origin + w2c[:, :3, 3])[..., None]).squeeze(-1)
    slope = torch.einsum("msc,mcw,rw->rms", normals, w2c[:, :3, :3], units)
    zero = -begin / torch.where(slope == 0, torch.ones_like(slope), slope)
    # From where on, and up to where, the ray lies on the inner side; rounding is let through.
    first = torch.where(slope > 0, zero, 0.0).amax(dim=-1)
    last = torch.where(slope < 0, zero, torch.inf).amin(dim=-1)
    outside = ((slope == 0) & (begin < 0)).any(dim=-1)
    return ~outside & (last >= 0) & (first <= last * (1 + 1e-4))


def _depths(views: CoarseViews, points: Float[Tensor, "P 3"], members: Int64[Tensor, " m"]):
    """Of some memories at a time: which, depth of the points in each, depth that it has there."""
    height, width = views.cameras.size
    for part in members.split(max(AT_ONCE // len(points), 1)):
        at, z = project(points, views.cameras[part])
        x, y = at.floor().unbind(-1)
        inside = (z > 0) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
        x, y = (v.nan_to_num(0).clamp(0, top - 1).long() for v, top in ((x, width), (y, height)))
        depth = torch.where(inside, views.depth[part[:, None], y, x], 0.0)
        yield part, z, depth
