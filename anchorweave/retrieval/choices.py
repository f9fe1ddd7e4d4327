"""Ways to choose the memories of one chunk: the paper's, and those for comparison.

A choice returns memories in the order of their slots, and why there are no more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor

from anchorweave.retrieval.context_frames import far_order, non_adjacent_order, shuffled
from anchorweave.retrieval.coverage import lazy_greedy


@dataclass(frozen=True)
class Candidates:
    """The input of a choice, for one chunk of the target.

    Args:
        chunk: which chunk it is, 0, 1, 2, ...
        pool: the C memories whose field of view overlaps the chunk's [C], oldest first; without the
            forced one.
        others: all memories but the forced one [A], oldest first.
        forced: the memory that already has a slot, if any.
        first: the memory of the first target frame, forced or not, if any.
        centres: where all M memories were seen from [M, 3].
        overlap: share of the chunk's frusta that each of the pool holds [C].
        footprints: call it for what each of the pool covers, as sets of bits [C, words].
        covered: what the forced memory covers already, as a set of bits [words].
        pixels: pixels of the chunk's views.
        budget: slots to fill.
        min_gain: a pick for its coverage must newly cover more than this share of the pixels.
        seed: of random choices.
    """

    chunk: int
    pool: Int64[Tensor, " C"]
    others: Int64[Tensor, " A"]
    forced: int | None
    first: int | None
    centres: Float[Tensor, "M 3"]
    overlap: Float[Tensor, " C"]
    footprints: Callable[[], Tensor]
    covered: Int64[Tensor, " words"]
    pixels: int
    budget: int
    min_gain: float
    seed: int


def by_coverage(given: Candidates) -> tuple[list[int], str]:
    """Greedily the memory that covers most of what is still uncovered."""
    rows, stopped = lazy_greedy(
        given.footprints(), given.covered, given.pixels, given.budget, given.min_gain
    )
    return given.pool[rows].tolist(), stopped


def by_overlap(given: Candidates) -> tuple[list[int], str]:
    """The memories of the pool whose frusta hold most of the chunk's; of equal ones the newer."""
    ranked = sorted(zip(given.overlap.tolist(), given.pool.tolist(), strict=True), reverse=True)
    return _cut([memory for _, memory in ranked], given)


def at_random(given: Candidates) -> tuple[list[int], str]:
    """Any memories at all, whether they overlap the chunk or not."""
    return _cut(shuffled(given.others.tolist(), given.seed, given.chunk), given)


def at_random_in_view(given: Candidates) -> tuple[list[int], str]:
    """Any memories of the pool, the same ones for the same seed and chunk."""
    return _cut(shuffled(given.pool.tolist(), given.seed, given.chunk), given)


def by_runs(given: Candidates) -> tuple[list[int], str]:
    """One memory of each run of consecutive ones in the pool, then any of the pool."""
    return _cut(non_adjacent_order(given.pool.tolist(), given.seed, given.chunk), given)


def by_distance(given: Candidates) -> tuple[list[int], str]:
    """As `by_runs`, those first that are farthest from the forced one and from each other."""
    forced = [] if given.forced is None else [given.forced]
    pool = given.pool.tolist()
    order = far_order(pool, forced, given.centres, given.budget, given.seed, given.chunk)
    return _cut(order, given)


def by_age(given: Candidates) -> tuple[list[int], str]:
    """The newest memories, whether they overlap the chunk or not."""
    return _cut(given.others.tolist()[::-1], given)


def first_alone(given: Candidates) -> tuple[list[int], str]:
    """The memory of the first target frame and no other."""
    if given.first is None:
        return [], "no memory of the first frame"
    return [] if given.first == given.forced else [given.first], "the first frame alone"


CHOICES: dict[str, Callable[[Candidates], tuple[list[int], str]]] = {
    "coverage": by_coverage,
    "overlap": by_overlap,
    "random": at_random,
    "random_in_view": at_random_in_view,
    "non_adjacent": by_runs,
    "far": by_distance,
    "recent": by_age,
    "first": first_alone,
}


def _cut(order: list[int], given: Candidates) -> tuple[list[int], str]:
    return order[: given.budget], "K reached" if len(order) >= given.budget else "pool empty"
