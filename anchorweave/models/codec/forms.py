"""Which videos fit a family's published networks, for preparing clips without any network.

Nothing here imports diffusers, so that asking costs no time.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class VideoForm:
    """Lengths and sizes.

    Args:
        frame_step: lengths are `frame_step` k + 1.
        size_step: what divides height and width in pixels: a token's side.
    """

    frame_step: int
    size_step: int

    def check(self, frames: int, size: tuple[int, int]) -> None:
        """Refuse clips that do not fit.

        Raises:
            ValueError: another length, at least one latent frame behind the first; or a side that
                does not divide.
        """
        step = self.frame_step
        if frames < step + 1 or frames % step != 1:
            lengths = ", ".join(str(k * step + 1) for k in (1, 2, 3))
            raise ValueError(f"frames={frames} do not fit the VAE, which takes {lengths}, ...")
        if any(side < self.size_step or side % self.size_step for side in size):
            step = self.size_step
            nearest = [max(step, round(side / step) * step) for side in size]
            raise ValueError(
                f"size={size}: height and width must be divisible by {step}; "
                f"the nearest such size is {nearest}"
            )
