"""How much a video moves, and whether as the truth does: what a frozen video fails.

A video that repeats its first frame has a fair PSNR, and a perfect one between frames of one pose.
These two metrics expose it: they measure only how much the content changes.
Neither is of a paper.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def motion_energy(video: Float[Tensor, "T 3 H W"], truth: Float[Tensor, "T 3 H W"]) -> float | None:
    """Mean absolute difference of neighbouring frames, over that of the truth.

    0 = frozen, 1 = as much as the truth. High is not better: flicker and noise have far above 1,
    blur below. Near 1 is good.

    Args:
        video: colours in [0, 1].
        truth: colours in [0, 1].

    Returns:
        None where the truth itself does not move.
    """
    moves = truth.double().diff(dim=0).abs().mean().item() if len(truth) > 1 else 0.0
    return video.double().diff(dim=0).abs().mean().item() / moves if moves > 0 else None


def motion_agreement(
    video: Float[Tensor, "T 3 H W"], truth: Float[Tensor, "T 3 H W"]
) -> float | None:
    """Cosine between the differences of neighbouring frames of the video and of the truth.

    1 = every pixel changes as it does in the truth, up to one factor for all; 0 = frozen, or
    changes that have nothing to do with the truth's, such as noise; below 0 = against it. High is
    good, however much moves: `motion_energy` says that.

    Args:
        video: colours in [0, 1].
        truth: colours in [0, 1].

    Returns:
        None where the truth itself does not move.
    """
    a, b = (values.double().diff(dim=0).flatten() for values in (video, truth))
    if not b.any():
        return None
    return (a @ b / (a.norm() * b.norm())).item() if a.any() else 0.0
