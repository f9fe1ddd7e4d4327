"""One memory along the target cameras: an anchor video (paper section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Bool, Float
from torch import Tensor

from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.point_cloud import PointCloud
from anchorweave.rendering import point_splat, point_splat_numba
from anchorweave.rendering.point_splat import Splat

RENDERERS = {"numba": point_splat_numba.splat_points, "torch": point_splat.splat_points}


@dataclass(frozen=True)
class RenderConfig:
    """How points are rendered.

    Args:
        splat_radius: each point covers a square with a side of 2 * splat_radius + 1 pixels; 0 is
            one pixel per point (not given in the paper).
        renderer: auto takes numba on the CPU and torch elsewhere; their output is identical.

    Raises:
        ValueError: a negative radius or an unknown renderer.
    """

    splat_radius: int = 0
    renderer: Literal["auto", "numba", "torch"] = "auto"

    def __post_init__(self):
        if self.splat_radius < 0:
            raise ValueError(f"splat_radius must be 0 pixels or more, got {self.splat_radius}")
        if self.renderer not in ("auto", *RENDERERS):
            raise ValueError(f"renderer {self.renderer!r} is none of auto, {', '.join(RENDERERS)}")


def render_anchor(
    cloud: PointCloud,
    cameras: Cameras,
    config: RenderConfig,
    out: tuple[Float[Tensor, "T 3 H W"], Bool[Tensor, "T H W"]] | None = None,
) -> Splat:
    """One memory rendered for T target cameras, at their own resolution.

    Holes, where no point projects, are black and not visible; nothing is filled in.

    Args:
        cloud: the memory.
        cameras: T cameras.
        config: how points are rendered.
        out: contiguous tensors that receive colours and visibility; None = new ones.

    Source: paper section 3.3; the hole rule is not given there.
    """
    renderer = config.renderer
    if renderer == "auto":
        renderer = "numba" if cloud.points.device.type == "cpu" else "torch"
    return RENDERERS[renderer](cloud.points, cloud.colours, cameras, config.splat_radius, out)
