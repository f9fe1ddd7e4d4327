"""How much a video moves, and whether it moves like the truth; catches frozen videos.

A video that repeats its first frame has a fair PSNR, and a perfect one between frames with the same
pose. These two metrics, which only measure how the content changes, expose it. They are not from a
paper.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def motion_energy(video: Float[Tensor, "T 3 H W"], truth: Float[Tensor, "T 3 H W"]) -> float | None:
    """Mean absolute difference of consecutive frames, relative to that of the truth.

    0 = frozen, 1 = as much as the truth. Higher is not better: flicker and noise give values far
    above 1, blur below 1. Near 1 is good.

    Args:
        video: colours in [0, 1].
        truth: colours in [0, 1].

    Returns:
        None if the truth itself does not move.
    """
    moves = truth.double().diff(dim=0).abs().mean().item() if len(truth) > 1 else 0.0
    return video.double().diff(dim=0).abs().mean().item() / moves if moves > 0 else None


def motion_agreement(
    video: Float[Tensor, "T 3 H W"], truth: Float[Tensor, "T 3 H W"]
) -> float | None:
    """Cosine similarity between the frame differences of the video and of the truth.

    1 = every pixel changes as in the truth, up to a global factor; 0 = frozen, or unrelated changes
    such as noise; below 0 = opposite. Higher is better, regardless of the amount of motion, which
    `motion_energy` measures.

    Args:
        video: colours in [0, 1].
        truth: colours in [0, 1].

    Returns:
        None if the truth itself does not move.
    """
    a, b = (values.double().diff(dim=0).flatten() for values in (video, truth))
    if not b.any():
        return None
    return (a @ b / (a.norm() * b.norm())).item() if a.any() else 0.0
