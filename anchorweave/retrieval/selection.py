"""Which memories fill the anchor slots, chunk by chunk of target frames (paper section 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from anchorweave.anchors import ChunkReport, Pick
from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.footprint import footprints, newly_covered
from anchorweave.retrieval.coarse_views import CoarseViews, coarse_size
from anchorweave.retrieval.coverage import lazy_greedy
from anchorweave.retrieval.random_choice import random_order
from anchorweave.retrieval.view_overlap import farthest, frustum_depths, view_overlap


@dataclass(frozen=True)
class RetrievalConfig:
    """How memories are chosen.

    Args:
        anchors: K, slots per chunk, the forced one included (paper: 4).
        chunk: D, target frames that share their memories (paper: 8); the first chunk has one more,
            frame 0 (not given in the paper).
        downscale: coverage is measured on views this many times smaller (not given in the paper).
        min_overlap: share of the chunk's frusta a memory must hold to enter the pool (not given in
            the paper).
        min_gain: a pick must newly cover more than this share of the chunk's pixels (not given in
            the paper).
        forced: first gives slot 0 of every chunk to the first frame's memory, as the paper's
            appendix B and the released code do.
        choose: coverage is the paper's choice at inference, random its choice in training (section
            4.1), both from the same pool; overlap takes the most overlapping ones, an ablation.
        seed: of the random choice.

    Raises:
        ValueError: a value out of range.
    """

    anchors: int = 4
    chunk: int = 8
    downscale: int = 8
    min_overlap: float = 0.05
    min_gain: float = 0.001
    forced: Literal["first", "none"] = "first"
    choose: Literal["coverage", "overlap", "random"] = "coverage"
    seed: int = 0

    def __post_init__(self):
        for name in ("anchors", "chunk", "downscale"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, met {getattr(self, name)}")
        for name in ("min_overlap", "min_gain"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share in [0, 1], met {getattr(self, name)}")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, met {self.seed}")
        if self.forced not in ("first", "none"):
            raise ValueError(f"forced is first or none, met {self.forced!r}")
        if self.choose not in CHOICES:
            raise ValueError(f"choose is one of {', '.join(CHOICES)}, met {self.choose!r}")


@dataclass(frozen=True)
class Candidates:
    """What a choice may look at: the C memories of one chunk's pool, oldest first.

    Args:
        chunk: which chunk it is, 0, 1, 2, ...
        overlap: share of the chunk's frusta that each of them holds [C].
        footprints: call it for what each of them covers, as sets of bits [C, words].
        covered: what the forced memory covers already, as a set of bits [words].
        pixels: pixels of the chunk's views.
        budget: slots to fill.
    """

    chunk: int
    overlap: Float[Tensor, " C"]
    footprints: Callable[[], Tensor]
    covered: Int64[Tensor, " words"]
    pixels: int
    budget: int


def by_coverage(pool: Candidates, config: RetrievalConfig) -> tuple[list[int], str]:
    """Greedily the memory that shows most of what is still unseen."""
    return lazy_greedy(pool.footprints(), pool.covered, pool.pixels, pool.budget, config.min_gain)


def by_overlap(pool: Candidates, config: RetrievalConfig) -> tuple[list[int], str]:
    """The memories whose frusta hold most of the chunk's; of equal ones the newer."""
    rank = sorted(enumerate(pool.overlap.tolist()), key=lambda entry: entry[::-1], reverse=True)
    return _cut([row for row, _ in rank], pool.budget)


def at_random(pool: Candidates, config: RetrievalConfig) -> tuple[list[int], str]:
    """Any memories of the pool, the same ones for the same seed and chunk."""
    return _cut(random_order(len(pool.overlap), config.seed, pool.chunk), pool.budget)


# A choice gives rows of the pool in the order of their slots, and why there are no more.
CHOICES: dict[str, Callable[[Candidates, RetrievalConfig], tuple[list[int], str]]] = {
    "coverage": by_coverage,
    "overlap": by_overlap,
    "random": at_random,
}


def chunks(frames: int, chunk: int) -> list[tuple[int, int]]:
    """[start, stop) of the chunks of a video: frame 0 and `chunk` more, then `chunk` each.

    The last one may be shorter.
    """
    stops = [*range(1 + chunk, frames, chunk), frames]
    return list(zip([0, *stops[:-1]], stops, strict=True)) if frames else []


def select(
    target: Cameras, memories: CoarseViews, config: RetrievalConfig, first: int | None
) -> tuple[ChunkReport, ...]:
    """Chooses memories for every chunk of the target, each chunk on its own.

    Args:
        target: T cameras at their full size.
        memories: M >= 0 memories, oldest first; a tie goes to the newer one.
        config: how to choose.
        first: the memory of the first frame, or None when there is none.

    Returns:
        One report per chunk, with picks in the order of their slots; slots that no pick fills are
        the caller's to leave black. `pool` does not count the forced memory.

    Raises:
        ValueError: `first` is no memory.

    Source: paper section 3.3, Algorithm 1; appendix B for the forced slot.
    """
    if first is not None and not 0 <= first < len(memories):
        raise ValueError(f"the first frame's memory is said to be {first} of {len(memories)}")
    forced = first if config.forced == "first" else None
    views = target.to("cpu").resized(coarse_size(target.size, config.downscale))
    depths, far = frustum_depths(memories), farthest(memories)
    reports = []
    for chunk, (start, stop) in enumerate(chunks(len(target), config.chunk)):
        overlap = view_overlap(views[start:stop], memories, depths, far)
        rest = torch.arange(len(memories)) != (-1 if forced is None else forced)
        pool = ((overlap >= config.min_overlap) & rest).nonzero()[:, 0]
        picks, stopped = _fill_slots(
            views[start:stop], memories, config, chunk, forced, pool, overlap[pool]
        )
        reports.append(ChunkReport(start, stop, len(pool), picks, stopped))
    return tuple(reports)


def _fill_slots(
    views: Cameras,
    memories: CoarseViews,
    config: RetrievalConfig,
    chunk: int,
    forced: int | None,
    pool: Tensor,
    overlap: Tensor,
) -> tuple[tuple[Pick, ...], str]:
    """The picks of one chunk, the forced one first, and why there are no more."""

    def look(members: Tensor) -> Tensor:
        return footprints(memories.depth, memories.cameras, views, members)

    pixels = len(views) * views.size[0] * views.size[1]
    start = torch.tensor([] if forced is None else [forced], dtype=torch.int64)
    covered = look(start).sum(dim=0)  # one footprint or none
    budget = config.anchors - len(start)
    candidates = Candidates(chunk, overlap, lambda: look(pool), covered, pixels, budget)
    rows, stopped = CHOICES[config.choose](candidates, config)
    members = torch.cat([start, pool[rows]])
    covered, total, picks = torch.zeros_like(covered), 0, []
    for slot, (memory, footprint) in enumerate(zip(members.tolist(), look(members), strict=True)):
        gain = int(newly_covered(footprint[None], covered))
        covered, total = covered | footprint, total + gain
        name, is_forced = memories.names[memory], slot < len(start)
        picks.append(Pick(slot, memory, name, gain / pixels, total / pixels, is_forced))
    return tuple(picks), stopped


def _cut(order: list[int], budget: int) -> tuple[list[int], str]:
    return order[:budget], "K reached" if len(order) >= budget else "pool empty"
