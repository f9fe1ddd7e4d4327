"""References from a bank: the unmodified frames, and the report of why they were chosen."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from anchorweave.anchors import ChunkReport, Pick, References, references_for
from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.footprint import footprints, newly_covered
from anchorweave.memory.bank import Bank
from anchorweave.retrieval import CoarseViews, coarse_views, join_coarse_views
from anchorweave.retrieval.coarse_views import coarse_size


@dataclass(frozen=True)
class Chosen:
    """The frames of a bank that were chosen as references, and why.

    Args:
        numbers: of the frames, in the order of the references.
        pool: number of candidates, without forced ones.
        stopped: why no more were chosen.
        forced: those of `numbers` that were chosen regardless of what they show.
    """

    numbers: tuple[int, ...]
    pool: int
    stopped: str
    forced: frozenset[int] = frozenset()

    def and_last(self, last: range) -> Chosen:
        """These, followed by the `last` frames as forced; none of those may be chosen already."""
        return replace(self, numbers=(*self.numbers, *last), forced=self.forced | set(last))


def last_frames(bank: Bank, count: int) -> range:
    """The numbers of the last `count` frames of the bank; all if there are fewer."""
    return range(max(len(bank) - count, 0), len(bank))


def references_of(bank: Bank, numbers: tuple[int, ...], cameras: Cameras) -> References:
    """The frames `numbers` of the bank (possibly none) as references for the T target `cameras`."""
    if not numbers:
        return references_for(cameras, (), cameras[:0])
    frames = [bank.frame(number) for number in numbers]
    return references_for(cameras, frames, bank.cameras[list(numbers)])


def report_of(
    bank: Bank, chosen: Chosen, cameras: Cameras, depth_edge: float, downscale: int
) -> ChunkReport:
    """What each reference covers of the T target cameras beyond those before it.

    Args:
        bank: where the frames are.
        chosen: which ones, and why.
        cameras: the targets, one chunk.
        depth_edge: relative depth step beyond which points do not count.
        downscale: pixels are counted in views downscaled by this factor.
    """
    return ChunkReport(
        0,
        len(cameras),
        chosen.pool,
        _picks(bank, chosen, cameras, depth_edge, downscale),
        chosen.stopped,
    )


def coarse_view(bank: Bank, number: int, depth_edge: float, downscale: int) -> CoarseViews:
    """One frame of the bank as a coarse view."""
    index = slice(number, number + 1)
    depth = bank.clean_depth(number, depth_edge)[None]
    return coarse_views(depth, bank.cameras[index], bank.names[index], downscale)


def _picks(
    bank: Bank, chosen: Chosen, cameras: Cameras, depth_edge: float, downscale: int
) -> tuple[Pick, ...]:
    if not chosen.numbers:
        return ()
    earlier_views = join_coarse_views(
        [coarse_view(bank, number, depth_edge, downscale) for number in chosen.numbers]
    )
    views = cameras.to("cpu").resized(coarse_size(cameras.size, downscale))
    seen = footprints(
        earlier_views.depth, earlier_views.cameras, views, torch.arange(len(earlier_views))
    )
    pixels = len(views) * views.size[0] * views.size[1]
    covered, total, picks = torch.zeros_like(seen[0]), 0, []
    for slot, (number, footprint) in enumerate(zip(chosen.numbers, seen, strict=True)):
        gain = int(newly_covered(footprint[None], covered))
        covered, total = covered | footprint, total + gain
        forced = number in chosen.forced
        name = earlier_views.names[slot]
        picks.append(Pick(slot, number, name, gain / pixels, total / pixels, forced))
    return tuple(picks)
