"""Whether memories contradict each other, and what is likely wrong then: unit, intrinsics or poses.

A few pairs of frames are looked up in each other (`disagreement.py`). Frames of one static scene
with right cameras and depth agree: the median difference of what two of them both see was, over
pairs near and far, at most 0.7 % of the depth in 7-Scenes' kitchen (a sensor), 0.4 % in rooms with
a reconstruction's errors, 0.3 % in exact rooms, 1.5 % in instant-ngp's fox with depth estimated by
plane sweep. With depth five times too large or small, half or double the focal length or
world-to-camera poses it was 3 % to 15 % where the camera moves.

Where frames differ by more than `SUSPECT` or see nothing in common, other readings of the same
numbers are tried. One under which they agree far better names the cause.
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

# Not given in any paper; measured as told above. Relative differences in depth: from SUSPECT on
# other readings are tried, from CONTRADICTING on frames contradict each other whatever the cause.
SUSPECT, CONTRADICTING = 0.012, 0.03
# A reading is the likelier one if depth differs by no more than SUSPECT and by less than this share
# of what it did, and colours agree by so many dB better.
SHARE_LEFT, BETTER_DB = 0.5, 1.0
# Of readings whose colours agree about as well, the one whose depths agree best is the likely one.
ALIKE_DB = 1.5
# Pairs with fewer common points are ignored.
LEAST_SHARE = 0.05
# Frames that see nothing in common are no contradiction, unless another reading shows so much.
MUCH_SHARE = 0.2
PAIRS_A_GAP = 4
# Small frames are enough; this many rows.
ROWS = 64

DEPTH_FACTORS = (2.0, 3.28084, 4.0, 5.0, 10.0, 100.0, 1000.0)
K_FACTORS = (2.0, 4.0, 8.0)

# A camera that moves by less than this share of the median depth only turns.
STANDS_STILL = 1e-3

Fault = Literal["unit", "intrinsics", "poses", "axes", "poses and axes"]
Reading = tuple[Fault, str, Callable[[Clip], Clip]]
# What each verdict is called in one line.
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
    """The consistency of a clip's frames with its cameras and depth.

    Args:
        kind: a key of `TITLES`.
        words: what was measured, and what would be better.
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
    """How some pairs of frames agree.

    Args:
        pairs: how many see enough in common to be compared.
        difference: median over these of the relative difference in depth; None for none.
        psnr: median PSNR of colours, in dB; None for none.
        share: median over all pairs of the share of common points.
    """

    pairs: int
    difference: float | None
    psnr: float | None
    share: float


def check_memories(clip: Clip, check: Check, where: str) -> None:
    """Warn of frames that contradict each other, or refuse them.

    Args:
        clip: what is to be remembered, with depth.
        check: `warn`, `error` (refuse) or `off`.
        where: its source, for messages.

    Raises:
        ValueError: with `error`, frames that contradict each other.
    """
    if check == "off" or (found := contradiction(clip)) is None:
        return
    message = f"{where}: {found}"
    if check == "error":
        raise ValueError(f"{message} (check=warn goes on all the same)")
    warnings.warn(f"{message} (check=error refuses, check=off is silent)", stacklevel=2)


def contradiction(clip: Clip) -> str | None:
    """What is wrong with the cameras or depth of a clip, in words; None if its frames agree.

    Takes a tenth of a second at 64x96, one or two seconds more for frames that do not agree.

    Args:
        clip: frames of one static scene with depth, in the order they were seen.
    """
    told = verdict(clip)
    return told.words if told.fault else None


def verdict(clip: Clip) -> Verdict:
    """The consistency of a clip's frames with its cameras and depth; see `contradiction`."""
    small = _small(clip)
    groups = _pairs(len(small))
    if not groups:
        return Verdict("untold", "a single frame tells nothing")
    met_by_group = [(agreement(small, pairs), pairs) for pairs in groups]
    # Those that disagree most first; of right ones, the farthest may see nothing in common.
    met_by_group.sort(key=lambda one: one[0].difference or 0.0, reverse=True)
    given = met_by_group[0][0]
    if given.difference is not None and given.difference <= SUSPECT:
        return Verdict("fine", _fine(small, given.difference))
    tried = (
        _likely(small, pairs, met)
        for met, pairs in met_by_group
        if met.difference is None or met.difference > SUSPECT
    )
    likely = next((found for found in tried if found), None)
    if given.difference is None and likely is None:
        return Verdict("untold", "no two frames see anything in common, under any other reading")
    if likely is None and given.difference <= CONTRADICTING:
        more = f"; a sensor's are below {SUSPECT:.1%}, but no other reading fits better"
        return Verdict("fine", _fine(small, given.difference) + more)
    met = (
        "no two frames see anything in common"
        if given.difference is None
        else f"what two frames both see lies at depths that differ by {given.difference:.1%} "
        f"(right ones: below {SUSPECT:.1%})"
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
    text = f"what two frames both see lies at depths that differ by {difference:.1%}"
    known = clip.depth[clip.depth > 0]
    centres = clip.cameras.centres
    moved = (centres - centres[0]).norm(dim=-1).max()
    if moved <= STANDS_STILL * known.median():
        text += "; the camera only turns, so nothing is said of the unit of depth"
    return text


def agreement(clip: Clip, pairs: Sequence[tuple[int, int]]) -> Agreement:
    """How the frames of each pair agree, looked up from the first in the second."""
    views = [common_view(clip[[i]], clip[[j]]) for i, j in pairs]
    seen = [view for view in views if view.share >= LEAST_SHARE]
    share = float(np.median([view.share for view in views]))
    if len(seen) < min(2, len(pairs)):
        return Agreement(0, None, None, share)
    difference = float(np.median([view.difference.median().item() for view in seen]))
    return Agreement(len(seen), difference, float(np.median([view.psnr for view in seen])), share)


def _pairs(count: int) -> list[list[tuple[int, int]]]:
    """Pairs of positions at some distances, the smallest first, spread over all of them."""
    groups = []
    for gap in sorted({1, max(1, count // 8), max(1, count // 3)}):
        if gap < count:
            starts = np.unique(np.linspace(0, count - 1 - gap, PAIRS_A_GAP).round().astype(int))
            groups.append([(i, i + gap) for i in starts.tolist()])
    return groups


def _likely(
    clip: Clip, pairs: list[tuple[int, int]], given: Agreement
) -> tuple[Fault, str, Agreement] | None:
    """The reading under which frames agree best, if it is far better than the given one."""
    found = []
    for kind, cause, reading in _readings():
        now = agreement(reading(clip), pairs)
        if now.difference is None or 2 * now.pairs < max(1, given.pairs):
            continue
        # Less wrong is not right.
        if now.difference > SUSPECT:
            continue
        if given.difference is None:
            better = now.share >= MUCH_SHARE
        else:
            better = now.difference <= SHARE_LEFT * given.difference
            # Clear contradictions may be of so few points that their colours happen to agree.
            least = BETTER_DB if given.difference <= CONTRADICTING else 0.0
            better &= now.psnr >= given.psnr + least
        if better:
            found.append((kind, cause, now))
    best = max((now.psnr for _, _, now in found), default=0.0)
    alike = [one for one in found if one[2].psnr >= best - ALIKE_DB]
    return min(alike, key=lambda one: one[2].difference, default=None)


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
    """Every n-th pixel of the frames, averaged, with the depth of the pixel in the middle."""
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
