"""Pairs of frames with the same pose on an out-and-back path.

Comparing them needs no ground truth (Context-as-Memory's history comparison, SPMem's view recall).
A frozen video scores perfectly: see `anchorweave/evaluation/motion.py`.
"""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor

from anchorweave.evaluation.camera_error import path_length
from anchorweave.geometry.cameras import rotation_angle

# Two poses are equal below these tolerances: a tenth of a degree, a thousandth of the path; far
# below a pixel if paths are as long as a room. Not given in the papers.
SAME_DEGREES = 0.1
SAME_SHARE = 1e-3


def same_pose(c2w: Float[Tensor, "T 4 4"], one: int, other: int) -> bool:
    """Whether two cameras of a path have the same pose."""
    a, b = c2w[one].double(), c2w[other].double()
    angle = math.degrees(rotation_angle(a[:3, :3], b[:3, :3]).item())
    distance = (a[:3, 3] - b[:3, 3]).norm().item()
    return angle <= SAME_DEGREES and distance <= SAME_SHARE * path_length(c2w) + 1e-9


def paired_frames(c2w: Float[Tensor, "T 4 4"]) -> list[tuple[int, int]]:
    """Pairs (way out, way back) of frames on a path that returns along itself.

    Args:
        c2w: all cameras of the path.

    Returns:
        Each frame of the way out with its counterpart on the way back, except the far end; empty if
        the path returns another way, returns only to its start, or never leaves it.
    """
    count = len(c2w)
    pairs = [(frame, count - 1 - frame) for frame in range(count // 2)]
    leaves = any(not same_pose(c2w, 0, frame) for frame in range(count))
    # With an even number of frames, the two middle ones are neighbours at the far end.
    returns = all(same_pose(c2w, *pair) for pair in pairs)
    return [pair for pair in pairs if pair[1] - pair[0] > 1] if leaves and returns else []
