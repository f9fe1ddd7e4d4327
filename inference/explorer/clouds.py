"""A subset of a memory's points that is small enough to draw: its level of detail."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Int

from anchorweave.geometry.point_cloud import PointCloud, cloud_from_frame
from anchorweave.memory import Bank, Memory

# Maximum number of memories decoded for their clouds; beyond it, an evenly spaced subset.
CLOUDS_SHOWN = 1_500
# Number of memories whose points are sent together.
PART = 25
FEWEST_POINTS = 60


def cloud_parts(memory: Memory, depth_edge: float, points: int) -> Iterator[PointCloud]:
    """The points of a memory in parts, none of which is empty.

    A fused cloud is one part; otherwise each frame contributes its share, and the frames of a part
    are spread over the whole walk, so that the scene appears early and then fills in.

    Args:
        memory: any system; one without geometry has no parts.
        depth_edge: see `Bank.clean_depth`.
        points: approximate maximum in total.
    """
    fused = getattr(memory, "cloud", None)
    if not memory.keeps_geometry or not len(memory):
        return
    if isinstance(fused, PointCloud):
        if len(fused):
            yield fused[torch.from_numpy(evenly(len(fused), points))]
        return
    taken = evenly(len(memory), CLOUDS_SHOWN)
    share = max(points // len(taken), FEWEST_POINTS)
    order = np.concatenate([taken[offset::PART] for offset in range(min(PART, len(taken)))])
    for begin in range(0, len(order), PART):
        part = [int(i) for i in order[begin : begin + PART]]
        clouds = [small_cloud(memory.bank, i, depth_edge, share) for i in part]
        cloud = PointCloud(
            torch.cat([c.points for c in clouds]), torch.cat([c.colours for c in clouds])
        )
        if len(cloud):
            yield cloud


def small_cloud(bank: Bank, number: int, edge: float, points: int) -> PointCloud:
    """The cloud of one memory with about `points` points, evenly sampled from its image.

    Args:
        bank: the bank.
        number: number of the memory.
        edge: see `Bank.clean_depth`.
        points: approximate number of points.
    """
    frame, depth = bank.frame(number), bank.clean_depth(number, edge)
    step = max(int((depth.numel() / points) ** 0.5 + 0.999), 1)
    sampled = torch.zeros_like(depth)
    # A different grid offset for each memory, so that they fill each other's gaps.
    row, column = number % step, (number // step) % step
    sampled[row::step, column::step] = depth[row::step, column::step]
    return cloud_from_frame(frame, sampled, bank.cameras[number])


def evenly(count: int, most: int) -> Int[np.ndarray, " n"]:
    """At most `most` of 0..count-1, evenly spread."""
    if count <= most:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, most).round().astype(np.int64))
