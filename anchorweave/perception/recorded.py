"""The recording's own depth.

Passed through without filling holes, at no cost.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from anchorweave.clip import Clip

# Number of frames named in a message; the rest are only counted.
NAMED = 8


class NoDepth:
    """Leaves frames without depth, for a memory that stores only frames."""

    def __call__(self, clip: Clip, known_depth: Float[Tensor, "T H W"] | None = None) -> Clip:
        """The clip itself."""
        return clip


class Recorded:
    """Passes recorded depth through.

    Depth from memory is not mixed in: a recorded frame is self-consistent, and filling it from
    other frames would bring their errors into a cloud that is kept separate to stay clean.
    """

    def __call__(self, clip: Clip, known_depth: Float[Tensor, "T H W"] | None = None) -> Clip:
        """The clip itself.

        Raises:
            ValueError: frames without any valid depth; the message names them.
        """
        valid = (clip.depth > 0).flatten(1).any(dim=1)
        without = [name for name, any_valid in zip(clip.names, valid, strict=True) if not any_valid]
        if without:
            more = f" and {len(without) - NAMED} more" if len(without) > NAMED else ""
            way_out = (
                "use perception=plane_sweep to estimate it from the cameras, or leave these frames "
                "out"
                if len(clip) > 1
                else "a single frame has no parallax to estimate it from: add a depth map "
                "(data/README.md), or use more frames of the recording (rollout.seen=) with "
                "perception=plane_sweep"
            )
            raise ValueError(
                f"{len(without)} of {len(clip)} frames have no valid depth: "
                f"{', '.join(without[:NAMED])}{more}; {way_out}"
            )
        return clip
