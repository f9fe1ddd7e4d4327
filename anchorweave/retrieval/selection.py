"""Which memories fill the anchor slots, chunk by chunk of target frames (paper section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from anchorweave.anchors import ChunkReport, Pick
from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.footprint import footprints, newly_covered
from anchorweave.retrieval.choices import CHOICES, Candidates
from anchorweave.retrieval.coarse_views import CoarseViews, coarse_size
from anchorweave.retrieval.view_overlap import farthest, frustum_depths, view_overlap


@dataclass(frozen=True)
class RetrievalConfig:
    """How memories are chosen.

    Args:
        anchors: K, slots per chunk, including the forced one (paper: 4).
        chunk: D, target frames that share their memories (paper: 8); the first chunk has one more,
            frame 0 (not given in the paper).
        downscale: factor by which views are downscaled to measure coverage (not given in the
            paper).
        min_overlap: fraction of the chunk's frusta that a memory must contain to enter the pool
            (not given in the paper).
        min_gain: a pick must newly cover more than this fraction of the chunk's pixels (not given
            in the paper).
        forced: first gives slot 0 of every chunk to the first frame's memory, as the paper's
            appendix B and the released code do.
        choose: coverage is the paper's strategy at inference, random_in_view its strategy in
            training (section 4.1), both from the same pool. For comparison, also from the pool:
            overlap takes the most overlapping ones; non_adjacent one random memory from each run of
            consecutive ones, then any; far the same, farthest from each other first (both after
            Context-as-Memory). From all memories: random takes any, recent the newest, first only
            the first frame's.
        seed: seed of all random choices.

    Raises:
        ValueError: a value out of range.
    """

    anchors: int = 4
    chunk: int = 8
    downscale: int = 8
    min_overlap: float = 0.05
    min_gain: float = 0.001
    forced: Literal["first", "none"] = "first"
    choose: Literal[tuple(CHOICES)] = "coverage"
    seed: int = 0

    def __post_init__(self):
        for name in ("anchors", "chunk", "downscale"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}")
        for name in ("min_overlap", "min_gain"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, got {self.seed}")
        if self.forced not in ("first", "none"):
            raise ValueError(f"forced must be first or none, got {self.forced!r}")
        if self.choose not in CHOICES:
            raise ValueError(f"choose must be one of {', '.join(CHOICES)}, got {self.choose!r}")


def chunks(frames: int, chunk: int) -> list[tuple[int, int]]:
    """[start, stop) of the chunks of a video: frame 0 and `chunk` more, then `chunk` each.

    The last chunk may be shorter.
    """
    stops = [*range(1 + chunk, frames, chunk), frames]
    return list(zip([0, *stops[:-1]], stops, strict=True)) if frames else []


def select(
    target: Cameras, memories: CoarseViews, config: RetrievalConfig, first: int | None
) -> tuple[ChunkReport, ...]:
    """Chooses memories for each chunk of the target independently.

    Args:
        target: T cameras at full image size.
        memories: M >= 0 memories, oldest first; ties go to the newer one.
        config: how to choose.
        first: the memory of the first frame, or None.

    Returns:
        One report per chunk, with picks in slot order; the caller leaves unfilled slots black.
        `pool` does not count the forced memory.

    Raises:
        ValueError: `first` is out of range.

    Source: paper section 3.3, Algorithm 1; appendix B for the forced slot.
    """
    if first is not None and not 0 <= first < len(memories):
        raise ValueError(f"first={first} is not one of the {len(memories)} memories")
    forced = first if config.forced == "first" else None
    views = target.to("cpu").resized(coarse_size(target.size, config.downscale))
    depths, far = frustum_depths(memories), farthest(memories)
    others = (torch.arange(len(memories)) != (-1 if forced is None else forced)).nonzero()[:, 0]
    reports = []
    for chunk, (start, stop) in enumerate(chunks(len(target), config.chunk)):
        overlap = view_overlap(views[start:stop], memories, depths, far)
        pool = others[overlap[others] >= config.min_overlap]
        look = _Look(memories, views[start:stop])
        begun = [] if forced is None else [forced]
        candidates = Candidates(
            chunk=chunk,
            pool=pool,
            others=others,
            forced=forced,
            first=first,
            centres=memories.cameras.centres,
            overlap=overlap[pool],
            footprints=partial(look, pool),
            covered=look(begun).sum(dim=0),  # one footprint or none
            pixels=look.pixels,
            budget=config.anchors - len(begun),
            min_gain=config.min_gain,
            seed=config.seed,
        )
        chosen, stopped = CHOICES[config.choose](candidates)
        picks = _picks(look, begun + chosen, forced)
        reports.append(ChunkReport(start, stop, len(pool), picks, stopped))
    return tuple(reports)


@dataclass(frozen=True)
class _Look:
    """Coverage of the views of one chunk by memories; call it with their indices."""

    memories: CoarseViews
    views: Cameras

    @property
    def pixels(self) -> int:
        return len(self.views) * self.views.size[0] * self.views.size[1]

    def __call__(self, members: Tensor | list[int]) -> Tensor:
        members = torch.as_tensor(members, dtype=torch.int64)
        return footprints(self.memories.depth, self.memories.cameras, self.views, members)


def _picks(look: _Look, chosen: list[int], forced: int | None) -> tuple[Pick, ...]:
    """The pixels that each chosen memory covers beyond those before it."""
    seen = look(chosen)
    covered, total, picks = torch.zeros_like(seen.sum(dim=0)), 0, []
    for slot, (memory, footprint) in enumerate(zip(chosen, seen, strict=True)):
        gain = int(newly_covered(footprint[None], covered))
        covered, total = covered | footprint, total + gain
        name, share = look.memories.names[memory], total / look.pixels
        picks.append(Pick(slot, memory, name, gain / look.pixels, share, memory == forced))
    return tuple(picks)
