"""Detects inconsistent memories, and the likely cause: depth unit, intrinsics or poses.

A few pairs of frames are compared by reprojection (`disagreement.py`). Frames of a static scene
with correct cameras and depth agree: the median relative depth difference where both see a surface
was, over pairs near and far, at most 0.7 % in 7-Scenes' kitchen (a sensor), 0.4 % in rooms with
simulated reconstruction errors, 0.3 % in exact rooms, 1.5 % in instant-ngp's fox with plane-sweep
depth. With depth off by a factor of five, half or double the focal length, or world-to-camera
poses, it was 3 % to 15 % if the camera translates.

If frames differ by more than `SUSPECT` or see nothing in common, other interpretations of the same
numbers are tried. If one agrees far better, it is reported as the cause.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from anchorweave.clip import Clip
from anchorweave.evaluation.disagreement import common_view

Check = Literal["warn", "error", "off"]

# Not given in any paper; measured as described above. Relative depth differences: from SUSPECT on
# other interpretations are tried, from CONTRADICTING on frames are inconsistent whatever the cause.
SUSPECT, CONTRADICTING = 0.012, 0.03
# An interpretation is preferred if it reduces the depth difference to at most SUSPECT and below
# this fraction of the original, and colours agree by this many dB better.
SHARE_LEFT, BETTER_DB = 0.5, 1.0
# Among interpretations with similar colour agreement, the one with the best depth agreement wins.
ALIKE_DB = 1.5
# Pairs with a smaller fraction of common points are ignored.
LEAST_SHARE = 0.05
# Frames without common points are not inconsistent, unless another interpretation yields this many.
MUCH_SHARE = 0.2
PAIRS_A_GAP = 4
# Image height used for the check; small frames are enough.
ROWS = 64

DEPTH_FACTORS = (2.0, 3.28084, 4.0, 5.0, 10.0, 100.0, 1000.0)
K_FACTORS = (2.0, 4.0, 8.0)

# A camera that moves by less than this fraction of the median depth only rotates.
STANDS_STILL = 1e-3

Fault = Literal["unit", "intrinsics", "poses", "axes", "poses and axes"]
Reading = tuple[Fault, str, Callable[[Clip], Clip]]
# One-line title of each verdict.
TITLES = {
    "fine": "fine",
    "untold": "cannot be told",
    "unit": "wrong unit of depth",
    "intrinsics": "wrong K",
    "poses": "world-to-camera poses for camera-to-world ones",
    "axes": "poses with other axes",
    "poses and axes": "world-to-camera poses, with other axes",
    "unknown": "frames contradict each other, for no known cause",
}


@dataclass(frozen=True)
class Verdict:
    """The consistency of a clip's frames, given its cameras and depth.

    Args:
        kind: a key of `TITLES`.
        words: what was measured, and which interpretation would fit better.
    """

    kind: Literal["fine", "untold", "unknown"] | Fault
    words: str

    @property
    def fault(self) -> bool:
        """Whether something is wrong."""
        return self.kind not in ("fine", "untold")

    def line(self) -> str:
        """The verdict in one line."""
        return f"{TITLES[self.kind]}: {self.words}"


@dataclass(frozen=True)
class Agreement:
    """Agreement of some pairs of frames.

    Args:
        pairs: number of pairs with enough in common to be compared.
        difference: median over these of the relative depth difference; None for none.
        psnr: median PSNR of colours, in dB; None for none.
        share: median over all pairs of the fraction of common points.
    """

    pairs: int
    difference: float | None
    psnr: float | None
    share: float


def check_memories(clip: Clip, check: Check, where: str) -> None:
    """Warns about, or rejects, inconsistent frames.

    Args:
        clip: the clip to be remembered, with depth.
        check: `warn`, `error` (reject) or `off`.
        where: its source, for messages.

    Raises:
        ValueError: with `error`, if frames are inconsistent.
    """
    if check == "off" or (problem := contradiction(clip)) is None:
        return
    message = f"{where}: {problem}"
    if check == "error":
        raise ValueError(f"{message} (check=warn continues anyway)")
    warnings.warn(f"{message} (check=error rejects, check=off is silent)", stacklevel=2)


def contradiction(clip: Clip) -> str | None:
    """What is wrong with the cameras or depth of a clip, as text; None if its frames agree.

    Takes a tenth of a second at 64x96, plus one or two seconds for inconsistent frames.

    Args:
        clip: frames of a static scene with depth, in the order they were taken.
    """
    result = verdict(clip)
    return result.words if result.fault else None


def verdict(clip: Clip) -> Verdict:
    """The consistency of a clip's frames with its cameras and depth; see `contradiction`."""
    small = _small(clip)
    groups = _pairs(len(small))
    if not groups:
        return Verdict("untold", "a single frame cannot be checked")
    met_by_group = [(agreement(small, pairs), pairs) for pairs in groups]
    # Largest disagreement first; of correct frames, the farthest may see nothing in common.
    met_by_group.sort(key=lambda one: one[0].difference or 0.0, reverse=True)
    measured = met_by_group[0][0]
    if measured.difference is not None and measured.difference <= SUSPECT:
        return Verdict("fine", _fine(small, measured.difference))
    tried = (
        _likely(small, pairs, met)
        for met, pairs in met_by_group
        if met.difference is None or met.difference > SUSPECT
    )
    likely = next((found for found in tried if found), None)
    if measured.difference is None and likely is None:
        return Verdict("untold", "no two frames see anything in commonin any interpretation")
    if likely is None and measured.difference <= CONTRADICTING:
        more = f"; a sensor's are below {SUSPECT:.1%}, but no other interpretation fits better"
        return Verdict("fine", _fine(small, measured.difference) + more)
    met = (
        "no two frames see anything in common"
        if measured.difference is None
        else f"depths of what two frames both see differ by {measured.difference:.1%} "
        f"(expected below {SUSPECT:.1%})"
    )
    if likely is None:
        return Verdict(
            "unknown",
            f"memories contradict each other: {met}; check the unit of depth against that of the "
            "poses, K against the images' size, and that poses are camera-to-world",
        )
    kind, cause, better = likely
    return Verdict(
        kind,
        f"memories contradict each other: {met}; {cause}, they differ by {better.difference:.1%}",
    )


def _fine(clip: Clip, difference: float) -> str:
    text = f"depths of what two frames both see differ by {difference:.1%}"
    valid = clip.depth[clip.depth > 0]
    centres = clip.cameras.centres
    moved = (centres - centres[0]).norm(dim=-1).max()
    if moved <= STANDS_STILL * valid.median():
        text += "; the camera only rotates, so the unit of depth cannot be checked"
    return text


def agreement(clip: Clip, pairs: Sequence[tuple[int, int]]) -> Agreement:
    """Agreement of each pair of frames, reprojecting the first into the second."""
    views = [common_view(clip[[i]], clip[[j]]) for i, j in pairs]
    seen = [view for view in views if view.share >= LEAST_SHARE]
    share = float(np.median([view.share for view in views]))
    if len(seen) < min(2, len(pairs)):
        return Agreement(0, None, None, share)
    difference = float(np.median([view.difference.median().item() for view in seen]))
    return Agreement(len(seen), difference, float(np.median([view.psnr for view in seen])), share)


def _pairs(count: int) -> list[list[tuple[int, int]]]:
    """Pairs of positions at several distances, smallest first, spread over all positions."""
    groups = []
    for gap in sorted({1, max(1, count // 8), max(1, count // 3)}):
        if gap < count:
            starts = np.unique(np.linspace(0, count - 1 - gap, PAIRS_A_GAP).round().astype(int))
            groups.append([(i, i + gap) for i in starts.tolist()])
    return groups


def _likely(
    clip: Clip, pairs: list[tuple[int, int]], given: Agreement
) -> tuple[Fault, str, Agreement] | None:
    """The interpretation with the best agreement, if far better than the given one."""
    candidates = []
    for kind, cause, reading in _readings():
        now = agreement(reading(clip), pairs)
        if now.difference is None or 2 * now.pairs < max(1, given.pairs):
            continue
        # An improvement that is still suspect does not count.
        if now.difference > SUSPECT:
            continue
        if given.difference is None:
            better = now.share >= MUCH_SHARE
        else:
            better = now.difference <= SHARE_LEFT * given.difference
            # Clear contradictions may involve so few points that their colours agree by chance.
            least = BETTER_DB if given.difference <= CONTRADICTING else 0.0
            better &= now.psnr >= given.psnr + least
        if better:
            candidates.append((kind, cause, now))
    best = max((now.psnr for _, _, now in candidates), default=0.0)
    alike = [candidate for candidate in candidates if candidate[2].psnr >= best - ALIKE_DB]
    return min(alike, key=lambda candidate: candidate[2].difference, default=None)


def _readings() -> Iterator[Reading]:
    yield "poses", "read as world-to-camera instead of camera-to-world poses", _inverted
    yield "axes", "with the other axes (OpenGL's for OpenCV's, or the other way)", _flipped
    yield (
        "poses and axes",
        "read as world-to-camera instead of camera-to-world poses with the other axes",
        lambda clip: _flipped(_inverted(clip)),
    )
    for factor in (*DEPTH_FACTORS, *(1 / factor for factor in DEPTH_FACTORS)):
        yield "unit", f"with depth {_times(factor)} (another unit than the poses')", _depth(factor)
    for factor in (*K_FACTORS, *(1 / factor for factor in K_FACTORS)):
        yield (
            "intrinsics",
            f"with K {_times(factor)} (it is for images of another size)",
            _K(factor, factor),
        )
        yield "intrinsics", f"with focal lengths {_times(factor)}", _K(factor, 1.0)


def _times(factor: float) -> str:
    return f"times {factor:.4g}" if factor > 1 else f"divided by {1 / factor:.4g}"


def _depth(factor: float) -> Callable[[Clip], Clip]:
    return lambda clip: replace(clip, depth=factor * clip.depth)


def _K(focal: float, centre: float) -> Callable[[Clip], Clip]:
    def reading(clip: Clip) -> Clip:
        scale = clip.cameras.K.new_ones(3, 3)
        scale[0, 0] = scale[1, 1] = focal
        scale[:2, 2] = centre
        return replace(clip, cameras=replace(clip.cameras, K=scale * clip.cameras.K))

    return reading


def _inverted(clip: Clip) -> Clip:
    return replace(clip, cameras=replace(clip.cameras, c2w=clip.cameras.w2c))


def _flipped(clip: Clip) -> Clip:
    axes = torch.diag(clip.cameras.c2w.new_tensor([1.0, -1.0, -1.0, 1.0]))
    return replace(clip, cameras=replace(clip.cameras, c2w=clip.cameras.c2w @ axes))


def _small(clip: Clip) -> Clip:
    """Every n-th pixel of the frames, with averaged colours and the depth of the centre pixel."""
    H, W = clip.cameras.size
    step = max(1, H // ROWS)
    if step == 1:
        return clip
    h, w = H // step, W // step
    frames = torch.nn.functional.avg_pool2d(clip.frames, step)
    middle = step // 2
    depth = clip.depth[:, middle::step, middle::step][:, :h, :w]
    cameras = clip.cameras.cropped(0, 0, (h * step, w * step)).resized((h, w))
    static = clip.static
    if static is not None:
        static = static[:, middle::step, middle::step][:, :h, :w]
    return replace(clip, frames=frames, depth=depth, cameras=cameras, static=static, sparse=None)
