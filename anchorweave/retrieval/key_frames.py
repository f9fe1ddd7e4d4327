"""Key frames: the few frames that together show all that was seen (SPMem's episodic memory).

A frame becomes one if enough of what it shows was in no key frame before it. The paper counts what
is empty in a render of its map; here the new frame's points are looked up in the key frames' depth
maps, so that which frames are chosen depends neither on the side of the map's voxels nor on how
many frames are remembered at a time. What was hidden from a key frame was not in it.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.projection import project, unproject
from anchorweave.retrieval.coarse_views import CoarseViews, join_coarse_views
from anchorweave.retrieval.view_overlap import farthest, frustum_depths, view_overlap


class KeyFrames:
    """The key frames among frames that are offered one after another; some 20 kB each.

    Args:
        min_revealed: a frame joins if more than this share of its pixels shows what no key frame
            did (SPMem names a threshold and gives no value).
        tolerance: two depths that differ by up to this share are of one surface.

    Source: SPMem (2506.05284).
    """

    def __init__(self, min_revealed: float, tolerance: float):
        self.min_revealed, self.tolerance = min_revealed, tolerance
        self.numbers: list[int] = []
        self.revealed: list[float] = []
        self.views: CoarseViews | None = None

    def offer(self, number: int, view: CoarseViews) -> bool:
        """Whether frame `number`, by its one view, is a key frame, as which it is then kept."""
        depth, unseen = view.depth[0], view.depth[0] > 0
        if self.views is not None:
            unseen &= ~shown_before(depth, view.cameras[0], self.views, self.tolerance)
        revealed = unseen.float().mean().item()
        if revealed <= self.min_revealed:
            return False
        self.numbers.append(number)
        self.revealed.append(revealed)
        known = [] if self.views is None else [self.views]
        self.views = join_coarse_views([*known, view])
        return True


def shown_before(
    depth: Float[Tensor, "h w"], camera: Cameras, earlier: CoarseViews, tolerance: float
) -> Bool[Tensor, "h w"]:
    """Which pixels of a view show a surface that an earlier view shows too.

    Args:
        depth: of the view; pixels without depth (0) show nothing.
        camera: its camera, of image size (h, w).
        earlier: M views.
        tolerance: a point was shown if its depth in an earlier camera differs from the depth in the
            pixel it lands in by up to this share of the latter.
    """
    shown = torch.zeros_like(depth, dtype=torch.bool)
    missing = depth > 0
    points = unproject(depth, camera)
    height, width = earlier.cameras.size
    # The newest is the most likely to show the same; few points are left for the others.
    for view in reversed(range(len(earlier))):
        if not missing.any():
            break
        positions, z = project(points[missing], earlier.cameras[view])
        column, row = positions.floor().long().unbind(-1)
        inside = (z > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
        earlier_depth = earlier.depth[view][row.clamp(0, height - 1), column.clamp(0, width - 1)]
        shown[missing] = (
            inside & (earlier_depth > 0) & ((z - earlier_depth).abs() <= tolerance * earlier_depth)
        )
        missing = missing & ~shown
    return shown


def most_revealing(revealed: list[float], count: int) -> tuple[list[int], str]:
    """The key frames that revealed most when they joined; of equal ones the newer.

    SPMem does not say which of many key frames are given.

    Returns:
        Positions in `revealed`, in their order, and why there are no more.
    """
    ranked = sorted(((share, i) for i, share in enumerate(revealed)), reverse=True)
    chosen = sorted(i for _, i in ranked[:count])
    return chosen, "every key frame" if len(chosen) == len(revealed) else "those that revealed most"


def overlap_with(target: Cameras, memories: CoarseViews) -> Float[Tensor, "T M"]:
    """Share of every target camera's frustum that each of M memories' frusta holds [T, M]."""
    depths, far = frustum_depths(memories), farthest(memories)
    views = target.to("cpu")
    return torch.stack(
        [view_overlap(views[t : t + 1], memories, depths, far) for t in range(len(views))]
    )


def by_marginal_overlap(
    overlap: Float[Tensor, "T M"], count: int, min_overlap: float
) -> tuple[list[int], str]:
    """Greedily the memory that adds most to the best overlap of all target frames.

    Args:
        overlap: of T target frames with M memories, in [0, 1].
        count: at most so many.
        min_overlap: a memory must overlap this much with one target frame at least.

    Returns:
        Which of the M memories, in the order of their numbers (of equal gains the newer), and why
        there are no more.

    Source: SPMem's released code; its value of 0.3 and this rule, not its sampling of frusta.
    """
    overlap = torch.where(overlap.amax(dim=0) >= min_overlap, overlap, 0.0)
    best, chosen = torch.zeros(len(overlap)), []
    while len(chosen) < count:
        gains = (overlap - best[:, None]).clamp(min=0).sum(dim=0).tolist()
        gain, memory = max(((gain, i) for i, gain in enumerate(gains)), default=(0.0, -1))
        if gain <= 0:
            return sorted(chosen), "no other key frame adds overlap"
        chosen.append(memory)
        best = torch.maximum(best, overlap[:, memory])
    return sorted(chosen), "K reached"
