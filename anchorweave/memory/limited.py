"""Limited: which frames stay in a memory of bounded size (ours; not in the papers).

Frames are offered one after another. When the limit is exceeded, the frame with the least unique
coverage is dropped: the fraction of its pixels with depth whose surface no other remembered frame
sees. The newest is never dropped; ties drop the older one. The result depends only on the order of
the frames, not on how many are added at a time, so that a reopened bank keeps the same frames.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int32
from torch import Tensor

from anchorweave.retrieval.coarse_views import CoarseViews, join_coarse_views
from anchorweave.retrieval.shared_surfaces import seen_from, times_shown


class Limited:
    """At most `limit` of the offered frames, with a coarse view of each.

    Args:
        limit: maximum number of frames.
        evict: `least_unique`, as above, or `oldest`, a sliding window, for comparison.
        tolerance: relative depth difference up to which two depths belong to one surface.
    """

    def __init__(self, limit: int, evict: str, tolerance: float):
        self.limit, self.evict, self.tolerance = limit, evict, tolerance
        self.numbers: list[int] = []
        self.offered = 0
        self._views: CoarseViews | None = None
        # For each pixel of each view: the number of other views that see its surface.
        self._seen: Int32[Tensor, "N h w"] | None = None

    def offer(self, view: CoarseViews) -> None:
        """Adds the next frame, as a single view; another one may be dropped."""
        number, self.offered = self.offered, self.offered + 1
        if self.evict == "oldest":
            self.numbers = [*self.numbers, number][-self.limit :]
            return
        if self._views is None:
            self._views, self._seen = view, torch.zeros_like(view.depth, dtype=torch.int32)
        else:
            new = (view.depth[0], view.cameras[0], self._views, self.tolerance)
            self._seen += seen_from(*new)
            self._seen = torch.cat([self._seen, times_shown(*new)[None]])
            self._views = join_coarse_views([self._views, view])
        self.numbers.append(number)
        if len(self.numbers) > self.limit:
            unique = self.unique()[:-1]
            self._drop(min(range(len(unique)), key=unique.__getitem__))

    def unique(self) -> list[float]:
        """For each remaining frame, the fraction of its view that it alone shows."""
        alone = (self._seen == 0) & (self._views.depth > 0)
        return alone.float().mean(dim=(1, 2)).tolist()

    def _drop(self, position: int) -> None:
        depth, camera = self._views.depth[position], self._views.cameras[position]
        kept = [i for i in range(len(self.numbers)) if i != position]
        self.numbers = [self.numbers[i] for i in kept]
        self._views = subset(self._views, kept)
        self._seen = self._seen[kept] - seen_from(depth, camera, self._views, self.tolerance)


def subset(views: CoarseViews, numbers: list[int]) -> CoarseViews:
    """The views of some frames, in the given order."""
    depth: Float[Tensor, "N h w"] = views.depth[numbers]
    return CoarseViews(depth, views.cameras[numbers], tuple(views.names[i] for i in numbers))
