"""Coverage: the fraction of the target that is shown, as in all tables of runs and evaluations.

Memory selection counts pixels on views of an eighth of the size (`retrieval/coverage.py`), where
one seen pixel stands for 64; that fraction is always called coarse.
"""

from __future__ import annotations

from jaxtyping import Bool
from torch import Tensor


def coverage(
    visible: Bool[Tensor, "*batch H W"], of: Bool[Tensor, "*batch H W"] | None = None
) -> float:
    """Fraction of full-size pixels that are shown, in [0, 1]; 0 if no pixel counts.

    Args:
        visible: True where something is shown.
        of: the pixels that count; None = all.
    """
    if of is None:
        return visible.float().mean().item()
    return (visible & of).sum().item() / max(1, of.sum().item())
