"""Which remembered frames show the same part of the scene as the target (Spatia).

Two rules. The paper's Algorithm 1: one target frame after another takes the frame with which it has
the largest share of the scene in common. The released code's: frames are assigned to target frames
one to one, so that all pairs together have the most points in common.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from anchorweave.geometry.voxels import Voxels

# By Algorithm 1, or by the released code's assignment (the Hungarian method).
REFERENCE_CHOICES = ("overlap", "hungarian")


class SceneParts:
    """The part of the scene that each of M remembered frames shows: the voxels of its points.

    About 20 kB each.

    Args:
        side: of a voxel, in the unit of the points.

    Raises:
        ValueError: a side that is not positive and finite.
    """

    def __init__(self, side: float):
        self._voxels = Voxels(side)
        self._parts: list[Tensor] = []

    def __len__(self) -> int:
        return len(self._parts)

    def add(self, points: Float[Tensor, "P 3"]) -> None:
        """One more frame, by its points in the world."""
        self._parts.append(self._voxels.add(points).unique())

    def overlap(self, points: Float[Tensor, "P 3"]) -> Float[Tensor, " M"]:
        """How much a view shares with each frame [M]: intersection over union of their voxels.

        Args:
            points: what the view shows of the remembered scene, in the world. Voxels that no frame
                showed do not count; the mean of a fused point can lie in one.
        """
        shown = torch.zeros(len(self._voxels), dtype=torch.bool)
        met = self._voxels.find(points)
        shown[met[met >= 0]] = True
        both = torch.tensor([int(shown[part].sum()) for part in self._parts])
        either = torch.tensor([len(part) for part in self._parts]) + shown.sum() - both
        return both / either.clamp(min=1)


def views_asked(frames: int, count: int) -> range:
    """The target frames that a reference is looked for: every `count`-th, from the first.

    The printed algorithm ends at the first frame that is not a multiple of `count`; it must mean
    to skip it.

    Source: Spatia, Algorithm 1.
    """
    return range(0, frames, count) if count else range(0)


def choose_references(
    overlap: Sequence[Float[Tensor, " M"]], count: int, min_overlap: float
) -> tuple[list[int], str]:
    """For one target frame after another the remembered frame that shows most of the same.

    A frame is taken once: what a second copy of it could add is not there. The paper does not
    say so; the released code matches one to one as well.

    Args:
        overlap: of each asked target frame with M remembered frames [M], in [0, 1].
        count: at most so many references, K.
        min_overlap: a reference must overlap by more than this.

    Returns:
        Which of the M frames, in the order of the target frames that asked for them (of equal
        overlaps the newer frame), and why there are no more.

    Source: Spatia, Algorithm 1.
    """
    chosen: list[int] = []
    for shares in overlap:
        if len(chosen) == count:
            break
        # A frame that was taken has no share left; the last of equal ones is the newest.
        shares = shares.clone()
        shares[chosen] = 0
        ranked = [(share, number) for number, share in enumerate(shares.tolist())]
        best, number = max(ranked, default=(0.0, -1))
        if best > min_overlap:
            chosen.append(number)
    if len(chosen) == count:
        return chosen, "K reached"
    return chosen, f"no other frame overlaps by more than {100 * min_overlap:g}%"


def shared_points(
    targets: Sequence[Int64[Tensor, " _"]], frames: Iterator[Int64[Tensor, " _"]], points: int
) -> Int64[Tensor, "A M"]:
    """How many points of a cloud A target frames and M remembered frames both show [A, M].

    Args:
        targets: of each target frame the numbers of the points that it shows, each once.
        frames: likewise of each remembered frame; one at a time is looked at.
        points: how many there are.
    """
    shown = torch.zeros(len(targets), points, dtype=torch.bool)
    for row, numbers in zip(shown, targets, strict=True):
        row[numbers] = True
    shared = [shown[:, numbers].sum(dim=1) for numbers in frames]
    return torch.stack(shared, dim=1) if shared else torch.zeros(len(targets), 0, dtype=torch.int64)


def assign_references(shared: Int64[Tensor, "A M"], count: int) -> tuple[list[int], str]:
    """Frames assigned to target frames one to one, with the largest sum of shared points.

    Unlike Algorithm 1, a frame that is best for an early target frame may be left to a later one
    that has no other, and nothing is too little to be a reference. The released code fails where
    there are fewer frames than target frames; here some target frames then go without.

    Args:
        shared: points that A target frames and M remembered frames both show.
        count: at most so many references, K: those of the first target frames that got one.

    Returns:
        Which of the M frames, in the order of the target frames, and why there are no more.

    Source: Spatia's released code.
    """
    # Only who asks for an assignment waits for scipy's imports.
    from scipy.optimize import linear_sum_assignment

    _, assigned = linear_sum_assignment(shared.numpy(), maximize=True)
    chosen = assigned[:count].tolist()
    if len(chosen) == count:
        return chosen, "K reached"
    few = "target frame that asks" if len(chosen) == len(shared) else "frame"
    return chosen, f"every {few} has its one"
