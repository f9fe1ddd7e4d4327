"""Strategies that choose the memories of one chunk: the paper's, and others for comparison.

A strategy returns memories in slot order, and the reason why there are no more.
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
    """The input of a strategy, for one chunk of the target.

    Args:
        chunk: which chunk it is, 0, 1, 2, ...
        pool: the C memories whose field of view overlaps the chunk's [C], oldest first, without the
            forced one.
        others: all memories except the forced one [A], oldest first.
        forced: the memory that already has a slot, if any.
        first: the memory of the first target frame, forced or not, if any.
        centres: camera positions of all M memories [M, 3].
        overlap: fraction of the chunk's frusta that each memory in the pool contains [C].
        footprints: call it for the coverage of each memory in the pool, as bitsets [C, words].
        covered: what the forced memory already covers, as a bitset [words].
        pixels: number of pixels in the chunk's views.
        budget: number of slots to fill.
        min_gain: a coverage pick must newly cover more than this fraction of the pixels.
        seed: seed of random choices.
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
    """Greedily picks the memory that covers most of the uncovered pixels."""
    rows, stopped = lazy_greedy(
        given.footprints(), given.covered, given.pixels, given.budget, given.min_gain
    )
    return given.pool[rows].tolist(), stopped


def by_overlap(given: Candidates) -> tuple[list[int], str]:
    """The memories whose frusta contain most of the chunk's; ties go to the newer one."""
    ranked = sorted(zip(given.overlap.tolist(), given.pool.tolist(), strict=True), reverse=True)
    return _cut([memory for _, memory in ranked], given)


def at_random(given: Candidates) -> tuple[list[int], str]:
    """Random memories, whether they overlap the chunk or not."""
    return _cut(shuffled(given.others.tolist(), given.seed, given.chunk), given)


def at_random_in_view(given: Candidates) -> tuple[list[int], str]:
    """Random memories of the pool, deterministic for a given seed and chunk."""
    return _cut(shuffled(given.pool.tolist(), given.seed, given.chunk), given)


def by_runs(given: Candidates) -> tuple[list[int], str]:
    """One memory per run of consecutive ones in the pool, then any of the pool."""
    return _cut(non_adjacent_order(given.pool.tolist(), given.seed, given.chunk), given)


def by_distance(given: Candidates) -> tuple[list[int], str]:
    """Like `by_runs`, farthest from the forced one and from each other first."""
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
