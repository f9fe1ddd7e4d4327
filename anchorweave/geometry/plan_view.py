"""Which cameras look at the same part of the scene, in plan view (top-down), without depth.

A recording may be z-up, y-down or neither, so the common up direction is the mean of the cameras'
own (image up, -y). The ground is the plane perpendicular to it, onto which cameras are projected.
Walls are unknown, so a view from the next room overlaps too (a failure that Context-as-Memory,
section 4, names).

Two tests. `rays` is the paper's: a camera is two rays, the borders of its view, and two cameras
are co-visible if their rays intersect neither too near nor too far from the target. It misses
cameras at the same place that look in different directions (they intersect at distance 0) and
cameras that look along each other's axis (they never intersect). `area` is ours and handles both:
each camera's view from `near` to `far`, seen from above, is a convex polygon, and the overlap is
the fraction of the target's polygon that the other one covers.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.convex_polygons import ConvexPolygons, convex_hulls, shared_areas

# Below this length the mean of unit vectors does not define a direction.
COMMON = 0.1
# Directions and distances that differ by less are equal up to rounding.
SAME = 1e-6


def shared_view(
    targets: Cameras, sources: Cameras, near: float, far: float
) -> Float[Tensor, "T M"]:
    """Fraction of each target's plan view that each source's plan view covers [T, M], in [0, 1].

    A camera's plan view is the convex hull of its frustum from depth `near` to `far`, seen from
    above. For a level camera these are its two border rays, cut off at both depths; a camera that
    looks down or up covers a shorter, wider area.

    Args:
        targets: T cameras.
        sources: M cameras.
        near: depth at which views begin, >= 0, in the unit of the cameras.
        far: depth at which views end.

    Raises:
        ValueError: invalid near or far, or cameras without a common up direction.
    """
    _check_limits(near, far)
    if not len(targets) or not len(sources):
        return torch.zeros(len(targets), len(sources))
    targets, sources = targets.to("cpu", torch.float64), sources.to("cpu", torch.float64)
    ground = ground_axes(targets, sources)
    # Relative to the scene, so that areas far from the origin lose no precision.
    origin = targets.centres[0]
    seen = _plan_views(targets, near, far, ground, origin)
    sees = _plan_views(sources, near, far, ground, origin)
    return (shared_areas(seen, sees) / seen.areas()[:, None]).clamp(0, 1).float()


def rays_meet(targets: Cameras, sources: Cameras, near: float, far: float) -> Bool[Tensor, "T M"]:
    """Whether both border rays of each target intersect a border ray of each source [T, M].

    The paper's "both left and right ray pairs intersect" can be read in two ways. Pairing left with
    left and right with right would make parallel cameras never co-visible, so here each border of
    the target may intersect either border of the source. Collinear rays intersect wherever they
    overlap.

    Args:
        targets: T cameras.
        sources: M cameras.
        near: minimum distance of the intersection from the target, in the plane.
        far: maximum distance.

    Raises:
        ValueError: invalid near or far, or cameras without a common up direction.

    Source: Context-as-Memory, section 4, which does not give the limits.
    """
    _check_limits(near, far)
    if not len(targets) or not len(sources):
        return torch.zeros(len(targets), len(sources), dtype=torch.bool)
    targets, sources = targets.to("cpu", torch.float64), sources.to("cpu", torch.float64)
    ground = ground_axes(targets, sources)
    along, across = _border_rays(targets, ground), _border_rays(sources, ground)
    along, across = along[:, None, :, None], across[None, :, None]  # [T, M, target's, source's, 2]
    step = (sources.centres - targets.centres[:, None]) @ ground.mT
    step = step[:, :, None, None]
    turn, aside = _cross(along, across), _cross(step, along)
    distance, along_source = _cross(step, across) / turn, aside / turn
    meet = (distance >= near) & (distance <= far) & (along_source >= 0)
    # Parallel rays intersect if they are collinear: from the source on, or up to it.
    ahead = (step * along).sum(-1)
    same_way = (along * across).sum(-1) > 0
    reach = torch.where(same_way, ahead <= far, ahead >= near)
    on_one_line = (aside.abs() <= SAME * far) & reach
    return torch.where(turn.abs() > SAME, meet, on_one_line).any(dim=-1).all(dim=-1)


def ground_axes(*cameras: Cameras) -> Float[Tensor, "2 3"]:
    """Two unit vectors that span the ground plane, level with the cameras on average [2, 3].

    Raises:
        ValueError: cameras whose up directions cancel out.
    """
    up = -torch.cat([part.c2w[:, :3, 1] for part in cameras]).double().mean(dim=0)
    if up.norm() < COMMON:
        raise ValueError(
            f"the cameras have no common up direction (the mean of their ups is {up.norm():.2g} "
            "long), so a plan view is undefined; retrieve without it (choose: random)"
        )
    # All right singular vectors but the first are perpendicular to the single row.
    return torch.linalg.svd(up[None])[2][1:]


def _plan_views(
    cameras: Cameras, near: float, far: float, ground: Tensor, origin: Tensor
) -> ConvexPolygons:
    height, width = cameras.size
    rays = _rays(cameras, [(0, 0), (width, 0), (width, height), (0, height)])
    centres = (cameras.centres - origin)[:, None]
    points = torch.cat([centres + near * rays, centres + far * rays], dim=1)
    return convex_hulls(points @ ground.mT)


def _border_rays(cameras: Cameras, ground: Tensor) -> Float[Tensor, "N 2 2"]:
    """Directions of the left and the right border of each view, in the ground plane."""
    height, width = cameras.size
    rays = _rays(cameras, [(0, height / 2), (width, height / 2)]) @ ground.mT
    length = rays.norm(dim=-1, keepdim=True)
    # A border that points straight down has no direction; NaN intersects nothing.
    return torch.where(length > SAME, rays / length, torch.nan)


def _rays(cameras: Cameras, pixels: list[tuple[int, int | float]]) -> Float[Tensor, "N R 3"]:
    """World vectors from each camera to depth 1 behind the given image positions."""
    positions = torch.tensor([(*pixel, 1) for pixel in pixels], dtype=torch.float64)
    return positions @ torch.linalg.inv(cameras.K).mT @ cameras.c2w[:, :3, :3].mT


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _check_limits(near: float, far: float) -> None:
    if not 0 <= near < far < float("inf"):
        raise ValueError(f"expected far > near >= 0, got near {near} and far {far}")
