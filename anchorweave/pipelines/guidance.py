"""Classifier-free guidance: its weight over the steps, and its two halves on two ranks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch.distributed as dist

from anchorweave.models.rank_split import CallsOverRanks, batch_over_ranks


class Guidance:
    """Guidance of a pipeline of diffusers: a mixin that reads its scheduler and timestep."""

    # Whether guidance calls the backbone once, with a batch of both halves.
    _guidance_in_one_call = True
    _split = False
    _dynamic_guidance = False

    def split_guidance(self) -> None:
        """From now on, each of two ranks computes one half of guidance; both get the same video.

        Every rank makes the same calls, with generators of the same seeds.

        Raises:
            ValueError: not two ranks of one process group.
        """
        ranks = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
        if ranks != 2:
            raise ValueError(
                f"guidance has two halves, and this process is one of {ranks} rank(s); start two: "
                "torchrun --nproc-per-node 2 -m inference.sample model.split=guidance"
            )
        self._split = True

    @contextmanager
    def guidance_as_set(self, scale: float | int) -> Iterator[None]:
        """Inside, calls of the backbone are split over ranks if `split_guidance` was called.

        Args:
            scale: of guidance.

        Raises:
            ValueError: guidance is split, but off; or it is two calls of a backbone that is
                offloaded.
        """
        if not self._split:
            yield
            return
        if scale <= 1:
            raise ValueError(
                "guidance is split over two ranks, and guidance_scale=1 has no halves; use one rank"
            )
        if self._guidance_in_one_call:
            with batch_over_ranks(self.transformer):
                yield
            return
        if getattr(self, "_all_hooks", None):
            raise ValueError(
                "guidance of two calls is split over two ranks, which model offloading does not "
                "allow: it moves the backbone by its calls; set model.offload=none or group"
            )
        backbone = self.transformer
        # Past diffusers, which would note it in the pipeline's configuration.
        self.__dict__["transformer"] = CallsOverRanks(backbone)
        try:
            yield
        finally:
            self.__dict__["transformer"] = backbone

    def _guidance_now(self, scale: float | int) -> float | int:
        """Weight of the prompt in this step.

        Dynamic guidance rises from 1 along a cosine over the share s of completed steps,
        1 + scale (1 - cos(pi s^5)) / 2. diffusers puts the raw timestep (0..999) in the place of
        completed steps, so that its weight jumps about. A run of the last steps alone has the
        weights that they have in a whole one.
        """
        if not self._dynamic_guidance or self.current_timestep is None:
            return scale
        left_out = 1 - len(self.scheduler.timesteps) / self.scheduler.num_inference_steps
        completed = left_out + (1 - left_out) * self._completed()
        rise = (1 - math.cos(math.pi * completed**5)) / 2
        return 1 + scale * rise

    def _completed(self) -> float:
        """The share of the steps that are completed, in [0, 1)."""
        timesteps = self.scheduler.timesteps
        step = (timesteps == self.current_timestep).nonzero()[0].item()
        return step / len(timesteps)
