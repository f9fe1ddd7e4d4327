"""Depth as the recording brings it.

Uses the recording's own depth, without filling holes, at no cost.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from anchorweave.clip import Clip

# Frames named in a message before the rest is only counted.
NAMED = 8


class NoDepth:
    """Leaves frames without depth, for a memory that keeps frames alone."""

    def __call__(self, clip: Clip, known_depth: Float[Tensor, "T H W"] | None = None) -> Clip:
        """The clip itself."""
        return clip


class Recorded:
    """Passes recorded depth on.

    Depth from memory is not mixed in: a recorded frame is consistent, and filling it from
    others would bring their errors into a cloud that is kept apart to be clean.
    """

    def __call__(self, clip: Clip, known_depth: Float[Tensor, "T H W"] | None = None) -> Clip:
        """The clip itself.

        Raises:
            ValueError: frames without any valid depth, by name.
        """
        valid = (clip.depth > 0).flatten(1).any(dim=1)
        without = [name for name, any_valid in zip(clip.names, valid, strict=True) if not any_valid]
        if without:
            more = f" and {len(without) - NAMED} more" if len(without) > NAMED else ""
            way_out = (
                "use perception=plane_sweep to estimate it from the cameras, or leave these frames "
                "out"
                if len(clip) > 1
                else "a single frame has no parallax to estimate it from: give it a depth map "
                "(data/README.md), or remember more frames of it (rollout.seen=) with "
                "perception=plane_sweep"
            )
            raise ValueError(
                f"{len(without)} of {len(clip)} frames have no valid depth: "
                f"{', '.join(without[:NAMED])}{more}; {way_out}"
            )
        return clip
