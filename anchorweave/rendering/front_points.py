"""The visible points of a cloud in each camera: the frontmost point of every pixel."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Int64
from torch import Tensor

from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.point_cloud import PointCloud
from anchorweave.rendering.anchor_video import RenderConfig, render_anchor

# float32 represents integers exactly up to 2 ** 24; a point index may need two of them.
PART = 1 << 24


def front_points(
    cloud: PointCloud, cameras: Cameras, config: RenderConfig
) -> Iterator[Int64[Tensor, " _"]]:
    """For each of T cameras the indices of its visible points, increasing, without duplicates.

    Uses the anchors' z-buffer, so that exactly the points an anchor shows are returned. Cameras are
    rendered one at a time, so memory does not grow with their number.

    Args:
        cloud: P points; colours are ignored.
        cameras: T cameras.
        config: how points are rendered.
    """
    numbers = torch.arange(len(cloud))
    # Point indices are passed through the renderer as colours.
    carried = torch.stack([numbers // PART, numbers % PART, torch.zeros_like(numbers)], dim=1)
    numbered = PointCloud(cloud.points, carried.to(cloud.points))
    for t in range(len(cameras)):
        splat = render_anchor(numbered, cameras[t : t + 1], config)
        high, low, _ = splat.video[0][:, splat.visible[0]].long()
        yield (high * PART + low).unique()
