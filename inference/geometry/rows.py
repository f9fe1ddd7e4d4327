"""What one memory system shows of true target frames without any network, its accuracy and cost.

A row is a system with its settings. Its anchors are composited, each pixel from the first slot that
sees it, as a network would receive them; how a network combines several is not judged here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anchorweave.anchors import ChunkReport, composite
from anchorweave.clip import Clip
from anchorweave.evaluation.coverage import coverage
from anchorweave.evaluation.cross_view import SAME_SURFACE, cross_view
from anchorweave.evaluation.image_metrics import psnr, ssim
from anchorweave.geometry.cameras import Cameras
from anchorweave.memory import Bank, open_memory
from anchorweave.progress import progress
from anchorweave.retrieval import coarse_views
from anchorweave.retrieval.shared_surfaces import shown_before
from inference.geometry.bytes_kept import BytesKept, bytes_kept
from inference.geometry.config import Row


@dataclass(frozen=True)
class Shown:
    """What one row shows of T target frames; the first three are None if it has no geometry.

    Args:
        video: colours [T, 3, H, W] in [0, 1], black where nothing is shown.
        visible: [T, H, W], True where something is shown.
        depth: depth of what is shown [T, H, W]; 0 where nothing is.
        report: which frames it chose for which target frames.
        kept: its storage.
        points: number of points of its fused cloud; None if it has none.
        fuse_seconds: CPU time to process all frames of the bank.
        retrieve_seconds: CPU time to choose and render for the whole target.
    """

    video: Float[Tensor, "T 3 H W"] | None
    visible: Bool[Tensor, "T H W"] | None
    depth: Float[Tensor, "T H W"] | None
    report: tuple[ChunkReport, ...]
    kept: BytesKept
    points: int | None
    fuse_seconds: float
    retrieve_seconds: float


def show(row: Row, bank: Bank, target: Cameras) -> Shown:
    """Remembers all of `bank` with the system of `row`, and retrieves for T target cameras."""
    begun = time.process_time()
    memory = open_memory(bank, row.memory, row.retrieval, row.rendering)
    fused = time.process_time()
    retrieved = memory.retrieve(target)
    took = time.process_time() - fused
    drawn = (None, None, None)
    if memory.keeps_geometry:
        drawn = (*composite(retrieved.anchors), memory.known_depth(target))
    points = memory.fused_points
    storage = bytes_kept(memory)
    return Shown(*drawn, retrieved.report, storage, points, fused - begun, took)


def measure(
    shown: Shown,
    target: Clip,
    all_show: Bool[Tensor, "T H W"],
    fill: Float[Tensor, "3"],
    gaps: tuple[int, ...],
) -> dict:
    """How much of the target a row shows, and how accurately; moving objects do not count.

    Args:
        shown: what the row shows.
        target: the true frames.
        all_show: the pixels that every row shows, on which rows are compared pairwise.
        fill: the colour used where nothing is shown, the same for all rows.
        gaps: distances in frames at which it is compared with itself.

    Returns:
        Numbers by name; None if a row has no such number. SSIM uses windows around shown pixels,
        with the truth's colours where nothing is shown: holes cost coverage rather than similarity,
        which favours rows with scattered pixels.
    """
    if shown.video is None:
        names = ("coverage", "psnr_visible", "ssim_visible", "psnr_where_all", "ssim_where_all")
        nothing = dict.fromkeys((*names, "psnr_filled", "coverage_by_frame", "psnr_by_frame"))
        return {**nothing, "cross_view": {str(gap): None for gap in gaps}}
    still = still_pixels(target)
    video, visible, truth = shown.video, shown.visible & still, target.frames
    filled = torch.where(visible[:, None], video, fill[:, None, None])
    frames = zip(video, truth, visible, strict=True)
    by_frame = [coverage(*one) for one in zip(visible, still, strict=True)]
    compared = {
        str(gap): asdict(cross_view(video, shown.depth, all_show, target, gap)) for gap in gaps
    }
    return {
        "coverage": coverage(visible, still),
        "psnr_visible": psnr(video, truth, visible),
        "ssim_visible": _ssim(video, truth, visible),
        "psnr_where_all": psnr(video, truth, all_show),
        "ssim_where_all": _ssim(video, truth, all_show),
        "psnr_filled": psnr(filled, truth, still),
        "cross_view": compared,
        "coverage_by_frame": by_frame,
        "psnr_by_frame": [psnr(*frame) for frame in frames],
    }


def still_pixels(target: Clip) -> Bool[Tensor, "T H W"]:
    """The static pixels of the true frames, which a memory of a static scene could know."""
    return torch.ones_like(target.depth).bool() if target.static is None else target.static


def cost(shown: Shown, frames: int, store_seconds: float) -> dict:
    """A row's storage in bytes and run time in seconds.

    Args:
        shown: what the row shows.
        frames: number of remembered frames.
        store_seconds: time the bank took to write them, shared by all rows.
    """
    return {
        "fused_points": shown.points,
        "disk_bytes": shown.kept.disk,
        "given_bytes": shown.kept.given,
        "memory_bytes": shown.kept.memory,
        "update_seconds_per_frame": (store_seconds + shown.fuse_seconds) / frames,
        "retrieve_seconds": shown.retrieve_seconds,
    }


def chosen_frames(report: tuple[ChunkReport, ...], frames: int) -> list[tuple[int, ...]]:
    """For each of `frames` target frames, which remembered ones were chosen."""
    chosen: list[tuple[int, ...]] = [()] * frames
    for chunk in report:
        for t in range(chunk.start, chunk.stop):
            chosen[t] = tuple(pick.memory for pick in chunk.picks)
    return chosen


def seen_share(chosen: Sequence[Sequence[int]], bank: Bank, target: Clip) -> float | None:
    """Fraction of the target's static pixels of known depth that remembered frames saw.

    Tested with the true depth: the surface at a pixel must project into one of the frames at the
    depth known there. Frame pixels without depth do not count.

    Args:
        chosen: for each target frame, the numbers of the frames to test.
        bank: the bank with these frames.
        target: the true frames.

    Returns:
        None if no depth of the target is known.
    """
    depth = target.static_depth
    valid = depth > 0
    if not valid.any():
        return None
    views = {
        number: coarse_views(bank.depth(number)[None], bank.cameras[[number]], ("",), 1)
        for number in {number for frames in chosen for number in frames}
    }
    seen = torch.zeros_like(valid)
    for t in progress(range(len(target)), "checking what the frames saw"):
        for number in chosen[t]:
            missing = torch.where(seen[t], 0.0, depth[t])
            seen[t] |= shown_before(missing, target.cameras[t], views[number], SAME_SURFACE)
    return seen[valid].float().mean().item()


def _ssim(video: Tensor, truth: Tensor, visible: Tensor) -> float | None:
    return ssim(torch.where(visible[:, None], video, truth), truth, visible)
