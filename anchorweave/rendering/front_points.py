"""Which points of a cloud a camera shows: of each pixel, the one in front."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Int64
from torch import Tensor

from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.point_cloud import PointCloud
from anchorweave.rendering.anchor_video import RenderConfig, render_anchor

# float32 holds every whole number up to 2 ** 24; a point's number may need two of them.
PART = 1 << 24


def front_points(
    cloud: PointCloud, cameras: Cameras, config: RenderConfig
) -> Iterator[Int64[Tensor, " _"]]:
    """For each of T cameras the numbers of the points that it shows, increasing, each once.

    The z-buffer is that of the anchors: what is in front here is what an anchor shows. One camera
    is drawn at a time, so that many of them need no more memory than one.

    Args:
        cloud: P points; their colours do not matter.
        cameras: T cameras.
        config: how points become pixels.
    """
    numbers = torch.arange(len(cloud))
    # A renderer passes on whatever it is given as colours.
    carried = torch.stack([numbers // PART, numbers % PART, torch.zeros_like(numbers)], dim=1)
    numbered = PointCloud(cloud.points, carried.to(cloud.points))
    for t in range(len(cameras)):
        shown = render_anchor(numbered, cameras[t : t + 1], config)
        high, low, _ = shown.video[0][:, shown.visible[0]].long()
        yield (high * PART + low).unique()
