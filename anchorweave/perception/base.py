"""Perception: from posed video to a clip whose depth is filled in."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from anchorweave.clip import Clip


class DepthNotFoundError(ValueError):
    """No depth can be estimated whatever the options: no parallax, or no matches."""


@runtime_checkable
class Perception(Protocol):
    """Estimates the depth of a clip with known cameras."""

    def __call__(self, clip: Clip, known_depth: Float[Tensor, "T H W"] | None = None) -> Clip:
        """The clip with depth; 0 where it stays unknown.

        Args:
            clip: frames and cameras; whether its own depth is used depends on the plug-in.
            known_depth: prior depth rendered from memory at the clip's cameras, 0 where memory
                shows nothing. It is kept where known; only the rest is estimated.
        """
        ...


def check_known_depth(clip: Clip, known_depth: Tensor | None) -> None:
    """Rejects a prior that does not fit the clip.

    Raises:
        ValueError: a prior of another size, or with negative, infinite or NaN depth.
    """
    if known_depth is None:
        return
    if known_depth.shape != clip.depth.shape:
        raise ValueError(
            f"known depth is {list(known_depth.shape)} but the clip is {list(clip.depth.shape)} "
            "(frames, height, width); render memory at the clip's own cameras"
        )
    if not ((known_depth >= 0) & known_depth.isfinite()).all():
        raise ValueError("known depth has negative, infinite or NaN values; 0 marks the unknown")
