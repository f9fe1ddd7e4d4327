"""Points of a memory that are few enough to be drawn: its level of detail."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Int

from anchorweave.geometry.point_cloud import PointCloud, cloud_from_frame
from anchorweave.memory import Bank, Memory

# Memories whose pictures are decoded for their clouds; of more, so many evenly spread.
CLOUDS_SHOWN = 1_500
# Memories whose points are sent together.
PART = 25
FEWEST_POINTS = 60


def cloud_parts(memory: Memory, depth_edge: float, points: int) -> Iterator[PointCloud]:
    """The points of a memory in parts, none of which is empty.

    A fused cloud is one part; of frames each gives its share, and those of a part are spread over
    the whole walk: the scene is there early, and fills up.

    Args:
        memory: any system; one that keeps no geometry has no parts.
        depth_edge: see `Bank.clean_depth`.
        points: at most about so many in all.
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
    """The cloud of one memory with about so many points, evenly taken from its picture.

    Args:
        bank: of the memory.
        number: of the memory.
        edge: see `Bank.clean_depth`.
        points: how many.
    """
    frame, depth = bank.frame(number), bank.clean_depth(number, edge)
    step = max(int((depth.numel() / points) ** 0.5 + 0.999), 1)
    kept = torch.zeros_like(depth)
    # Another corner of the grid for each memory: together they fill each other's gaps.
    row, column = number % step, (number // step) % step
    kept[row::step, column::step] = depth[row::step, column::step]
    return cloud_from_frame(frame, kept, bank.cameras[number])


def evenly(count: int, most: int) -> Int[np.ndarray, " n"]:
    """At most `most` of 0..count-1, evenly spread."""
    if count <= most:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, most).round().astype(np.int64))
