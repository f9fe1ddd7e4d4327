"""Which remembered frames show the same part of the scene as the target (Spatia).

Two rules. The paper's Algorithm 1: each target frame in turn takes the remembered frame with which
it shares most of the scene. The released code's: frames are assigned to target frames one to one,
maximising the total number of shared points.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from anchorweave.geometry.voxels import Voxels

# Algorithm 1, or the released code's assignment (the Hungarian method).
REFERENCE_CHOICES = ("overlap", "hungarian")


class SceneParts:
    """The part of the scene that each of M remembered frames shows, as the voxels of its points.

    About 20 kB per frame.

    Args:
        side: voxel side, in the unit of the points.

    Raises:
        ValueError: a side that is not positive and finite.
    """

    def __init__(self, side: float):
        self._voxels = Voxels(side)
        self._parts: list[Tensor] = []

    def __len__(self) -> int:
        return len(self._parts)

    def add(self, points: Float[Tensor, "P 3"]) -> None:
        """Adds one frame, given by its world points."""
        self._parts.append(self._voxels.add(points).unique())

    def overlap(self, points: Float[Tensor, "P 3"]) -> Float[Tensor, " M"]:
        """Overlap of a view with each frame [M]: intersection over union of their voxels.

        Args:
            points: the part of the remembered scene that the view shows, as world points. Voxels
                that no frame showed do not count (the mean of a fused point can lie in one).
        """
        visible = torch.zeros(len(self._voxels), dtype=torch.bool)
        voxels = self._voxels.find(points)
        visible[voxels[voxels >= 0]] = True
        both = torch.tensor([int(visible[part].sum()) for part in self._parts])
        either = torch.tensor([len(part) for part in self._parts]) + visible.sum() - both
        return both / either.clamp(min=1)


def views_asked(frames: int, count: int) -> range:
    """The target frames for which a reference is sought: every `count`-th, from the first.

    The printed algorithm stops at the first frame that is not a multiple of `count`; presumably it
    means to skip it.

    Source: Spatia, Algorithm 1.
    """
    return range(0, frames, count) if count else range(0)


def choose_references(
    overlap: Sequence[Float[Tensor, " M"]], count: int, min_overlap: float
) -> tuple[list[int], str]:
    """For each target frame in turn, the remembered frame that shares most with it.

    Each frame is used once, since a second copy would add nothing. The paper does not say so; the
    released code also matches one to one.

    Args:
        overlap: overlap of each sampled target frame with the M remembered frames [M], in [0, 1].
        count: maximum number of references, K.
        min_overlap: a reference must overlap by more than this.

    Returns:
        Indices of the chosen frames, in the order of the target frames they were chosen for (ties
        go to the newer frame), and why there are no more.

    Source: Spatia, Algorithm 1.
    """
    chosen: list[int] = []
    for shares in overlap:
        if len(chosen) == count:
            break
        # A frame already taken has no overlap left; the last among ties is the newest.
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
    """Number of points of a cloud that target and remembered frames have in common [A, M].

    Args:
        targets: for each of A target frames the indices of its visible points, without duplicates.
        frames: likewise for each of M remembered frames; consumed one at a time.
        points: total number of points.
    """
    visible = torch.zeros(len(targets), points, dtype=torch.bool)
    for row, numbers in zip(visible, targets, strict=True):
        row[numbers] = True
    shared = [visible[:, numbers].sum(dim=1) for numbers in frames]
    return torch.stack(shared, dim=1) if shared else torch.zeros(len(targets), 0, dtype=torch.int64)


def assign_references(shared: Int64[Tensor, "A M"], count: int) -> tuple[list[int], str]:
    """Assigns frames to target frames one to one, maximising the total number of shared points.

    Unlike Algorithm 1, the best frame of an early target frame may be left to a later one that has
    no other, and there is no minimum overlap. The released code fails if there are fewer frames
    than target frames; here some target frames then get none.

    Args:
        shared: number of points that A target frames and M remembered frames both show.
        count: maximum number of references, K: those of the first target frames that got one.

    Returns:
        Indices of the chosen frames, in the order of the target frames, and why there are no more.

    Source: Spatia's released code.
    """
    # Imported here, because scipy is slow to import.
    from scipy.optimize import linear_sum_assignment

    _, assigned = linear_sum_assignment(shared.numpy(), maximize=True)
    chosen = assigned[:count].tolist()
    if len(chosen) == count:
        return chosen, "K reached"
    subject = "sampled target frame" if len(chosen) == len(shared) else "frame"
    return chosen, f"every {subject} is assigned"
