"""Key frames: the few frames that together show everything seen (SPMem's episodic memory).

A frame becomes a key frame if enough of what it shows is in no earlier key frame. The paper counts
empty pixels in a render of its map; here the new frame's points are looked up in the key frames'
depth maps, so that the choice depends neither on the map's voxel size nor on how many frames are
added at a time. A surface occluded in a key frame does not count as seen by it.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.geometry.cameras import Cameras
from anchorweave.retrieval.coarse_views import CoarseViews, join_coarse_views
from anchorweave.retrieval.shared_surfaces import shown_before
from anchorweave.retrieval.view_overlap import farthest, frustum_depths, view_overlap


class KeyFrames:
    """Selects key frames from frames offered one after another; about 20 kB each.

    Args:
        min_revealed: a frame is added if more than this fraction of its pixels shows something that
            no key frame did (SPMem names a threshold and gives no value).
        tolerance: relative depth difference up to which two depths belong to one surface.

    Source: SPMem (2506.05284).
    """

    def __init__(self, min_revealed: float, tolerance: float):
        self.min_revealed, self.tolerance = min_revealed, tolerance
        self.numbers: list[int] = []
        self.revealed: list[float] = []
        self.views: CoarseViews | None = None

    def offer(self, number: int, view: CoarseViews) -> bool:
        """Whether frame `number`, given as a single view, is a key frame; if so, it is stored."""
        depth, unseen = view.depth[0], view.depth[0] > 0
        if self.views is not None:
            unseen &= ~shown_before(depth, view.cameras[0], self.views, self.tolerance)
        revealed = unseen.float().mean().item()
        if revealed <= self.min_revealed:
            return False
        self.numbers.append(number)
        self.revealed.append(revealed)
        earlier = [] if self.views is None else [self.views]
        self.views = join_coarse_views([*earlier, view])
        return True


def most_revealing(revealed: list[float], count: int) -> tuple[list[int], str]:
    """The key frames that revealed most when they were added; ties go to the newer one.

    SPMem does not say which key frames are used when there are many.

    Returns:
        Positions in `revealed`, in ascending order, and why there are no more.
    """
    ranked = sorted(((share, i) for i, share in enumerate(revealed)), reverse=True)
    chosen = sorted(i for _, i in ranked[:count])
    return chosen, "every key frame" if len(chosen) == len(revealed) else "those that revealed most"


def overlap_with(target: Cameras, memories: CoarseViews) -> Float[Tensor, "T M"]:
    """Fraction of every target camera's frustum that each of M memories' frusta contains [T, M]."""
    depths, far = frustum_depths(memories), farthest(memories)
    views = target.to("cpu")
    return torch.stack(
        [view_overlap(views[t : t + 1], memories, depths, far) for t in range(len(views))]
    )


def by_marginal_overlap(
    overlap: Float[Tensor, "T M"], count: int, min_overlap: float
) -> tuple[list[int], str]:
    """Greedily picks the memory that adds most to the best overlap, summed over target frames.

    Args:
        overlap: of T target frames with M memories, in [0, 1].
        count: maximum number of memories.
        min_overlap: a memory must overlap at least this much with some target frame.

    Returns:
        Indices of the chosen memories, ascending (ties go to the newer one), and why there are no
        more.

    Source: SPMem's released code: its value of 0.3 and this rule, but not its sampling of frusta.
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
