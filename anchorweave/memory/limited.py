"""Limited: which frames stay in a memory of bounded size (ours; not in the papers).

Frames are offered one after another. When the limit is exceeded, the frame with the least unique
coverage is dropped: the fraction of its pixels with depth whose surface no other remembered frame
sees. The newest is never dropped; ties drop the older one. The result depends only on the order of
the frames, not on how many are added at a time, so that a reopened bank keeps the same frames.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from anchorweave.retrieval.coarse_views import CoarseViews
from anchorweave.retrieval.key_frames import shown_before


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
        self._views: list[CoarseViews] = []
        # For each pixel of each view: the number of other views that see its surface.
        self._seen: list[Int[Tensor, "h w"]] = []

    def offer(self, view: CoarseViews) -> None:
        """Adds the next frame, as a single view; another one may be dropped."""
        number, self.offered = self.offered, self.offered + 1
        if self.evict == "oldest":
            self.numbers = [*self.numbers, number][-self.limit :]
            return
        seen = torch.zeros(view.depth.shape[1:], dtype=torch.int32)
        for other, counts in zip(self._views, self._seen, strict=True):
            seen += self._sees(other, view)
            counts += self._sees(view, other)
        self.numbers.append(number)
        self._views.append(view)
        self._seen.append(seen)
        if len(self.numbers) > self.limit:
            unique = self.unique()[:-1]
            self._drop(min(range(len(unique)), key=unique.__getitem__))

    def unique(self) -> list[float]:
        """For each remaining frame, the fraction of its view that it alone shows."""
        return [
            ((seen == 0) & (view.depth[0] > 0)).float().mean().item()
            for view, seen in zip(self._views, self._seen, strict=True)
        ]

    def _drop(self, position: int) -> None:
        for values in (self.numbers, self._seen):
            del values[position]
        gone = self._views.pop(position)
        for view, counts in zip(self._views, self._seen, strict=True):
            counts -= self._sees(gone, view)

    def _sees(self, one: CoarseViews, other: CoarseViews) -> Int[Tensor, "h w"]:
        """1 where `one` sees the surface shown by a pixel of `other`."""
        return shown_before(other.depth[0], other.cameras[0], one, self.tolerance).int()


def subset(views: CoarseViews, numbers: list[int]) -> CoarseViews:
    """The views of some frames, in the given order."""
    depth: Float[Tensor, "N h w"] = views.depth[numbers]
    return CoarseViews(depth, views.cameras[numbers], tuple(views.names[i] for i in numbers))
