"""Video sizes supported by a family's published networks, for preparing clips without a network.

This does not import diffusers, so that it loads fast.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class VideoForm:
    """Supported lengths and sizes.

    Args:
        frame_step: lengths are `frame_step` k + 1.
        size_step: divisor of height and width in pixels: the side of a token.
    """

    frame_step: int
    size_step: int

    def check(self, frames: int, size: tuple[int, int]) -> None:
        """Refuses unsupported clips.

        Raises:
            ValueError: an unsupported length (at least one latent frame after the first is needed),
                or a side that does not divide.
        """
        step = self.frame_step
        if frames < step + 1 or frames % step != 1:
            lengths = ", ".join(str(k * step + 1) for k in (1, 2, 3))
            raise ValueError(f"frames={frames} do not fit the VAE, which accepts {lengths}, ...")
        if any(side < self.size_step or side % self.size_step for side in size):
            step = self.size_step
            nearest = [max(step, round(side / step) * step) for side in size]
            raise ValueError(
                f"size={size}: height and width must be divisible by {step}; "
                f"the nearest such size is {nearest}"
            )
