"""Coverage-driven selection: always the memory that shows most of what is still unseen."""

from __future__ import annotations

import heapq

import torch
from jaxtyping import Int64
from torch import Tensor

from anchorweave.geometry.footprint import newly_covered


def lazy_greedy(
    footprints: Int64[Tensor, "C words"],
    covered: Int64[Tensor, " words"],
    pixels: int,
    budget: int,
    min_gain: float,
) -> tuple[list[int], str]:
    """Greedy set cover, with the same picks as evaluating every candidate every time.

    Gains can only shrink as coverage grows, so an old gain is an upper bound: only a candidate
    whose bound is at the head of the queue is re-evaluated.

    Args:
        footprints: coverage of each of C candidates, as bitsets; newer candidates last.
        covered: what is already covered.
        pixels: total number of pixels to cover.
        budget: maximum number of picks.
        min_gain: a pick must add more than this fraction of all pixels.

    Returns:
        Rows of `footprints` in the order of picking (ties go to the newer one), and why it stopped.

    Source: paper section 3.3, Algorithm 1; lazy evaluation after Minoux (1978).
    """
    gains = newly_covered(footprints, covered).tolist()
    # (-gain, -row): the smallest entry has the largest gain, and among ties the newest row.
    queue = [(-gain, -row) for row, gain in enumerate(gains)]
    heapq.heapify(queue)
    missing = pixels - int(newly_covered(covered[None], torch.zeros_like(covered)))
    picks: list[int] = []
    while True:
        if missing == 0:
            return picks, "full coverage"
        if len(picks) == budget:
            return picks, "K reached"
        if not queue:
            return picks, "pool empty"
        row, gain = _pop_best(queue, footprints, covered)
        if gain <= min_gain * pixels:
            return picks, f"no gain above {100 * min_gain:g}%"
        picks.append(row)
        covered = covered | footprints[row]
        missing -= gain


def _pop_best(queue: list[tuple[int, int]], footprints: Tensor, covered: Tensor) -> tuple[int, int]:
    """Pops the row with the largest current gain from a queue of upper bounds."""
    while True:
        bound, negative = queue[0]
        gain = int(newly_covered(footprints[-negative][None], covered))
        if -gain == bound:
            heapq.heappop(queue)
            return -negative, gain
        heapq.heapreplace(queue, (-gain, negative))
