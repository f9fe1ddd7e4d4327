"""Classifier-free guidance: its scale over the steps, and splitting its halves over two ranks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch.distributed as dist

from anchorweave.models.rank_split import batch_over_ranks


class Guidance:
    """Mixin for guidance of a diffusers pipeline; reads its scheduler and timestep."""

    # Whether guidance calls the backbone once, with both halves in one batch.
    _guidance_in_one_call = True
    _split = False
    _dynamic_guidance = False

    def split_guidance(self) -> None:
        """Makes each of two ranks compute one half of guidance; both return the same video.

        Both ranks must make the same calls, with generators of the same seeds.

        Raises:
            ValueError: not two ranks of one process group, or a family that calls its backbone
                twice.
        """
        if not self._guidance_in_one_call:
            raise ValueError(
                f"{type(self).__name__} calls its backbone once for each half of guidance, one "
                "after the other; guidance is split for CogVideoX only"
            )
        ranks = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
        if ranks != 2:
            raise ValueError(
                f"guidance has two halves, and this process is one of {ranks} rank(s); start two: "
                "torchrun --nproc-per-node 2 -m inference.sample model.split=guidance"
            )
        self._split = True

    @contextmanager
    def guidance_as_set(self, scale: float | int) -> Iterator[None]:
        """Context in which backbone calls are split over ranks if `split_guidance` was called.

        Args:
            scale: the guidance scale.

        Raises:
            ValueError: guidance is split, but off.
        """
        if not self._split:
            yield
            return
        if scale <= 1:
            raise ValueError(
                "guidance is split over two ranks, and guidance_scale=1 has no halves; use one rank"
            )
        with batch_over_ranks(self.transformer):
            yield

    def _guidance_now(self, scale: float | int) -> float | int:
        """Guidance scale of the current step.

        Dynamic guidance rises from 1 along a cosine of the fraction s of completed steps,
        1 + scale (1 - cos(pi s^5)) / 2. diffusers uses the raw timestep (0..999) instead of
        completed steps, so that its scale oscillates. A run of only the last steps uses the same
        values as these steps in a full run.
        """
        if not self._dynamic_guidance or self.current_timestep is None:
            return scale
        left_out = 1 - len(self.scheduler.timesteps) / self.scheduler.num_inference_steps
        completed = left_out + (1 - left_out) * self._completed()
        rise = (1 - math.cos(math.pi * completed**5)) / 2
        return 1 + scale * rise

    def _completed(self) -> float:
        """The fraction of completed steps, in [0, 1)."""
        timesteps = self.scheduler.timesteps
        step = (timesteps == self.current_timestep).nonzero()[0].item()
        return step / len(timesteps)
