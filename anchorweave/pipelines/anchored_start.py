"""Sampling that starts from the noised anchors instead of noise alone; our addition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from diffusers import SchedulerMixin
from jaxtyping import Float
from torch import Tensor

from anchorweave.anchors import Anchors, composite
from anchorweave.holes import fill_holes
from anchorweave.models.codec.base import VideoCodec


def start_video(anchors: Anchors, first: Float[Tensor, "3 H W"]) -> Float[Tensor, "T 3 H W"]:
    """A video to start sampling from: what the anchors show, holes filled.

    Frame 0 is the given one. Every other is the composite of all anchors with its holes filled; one
    that no anchor sees anything of repeats the nearest frame in time (of two the earlier one) that
    is none of these. So without any anchor the first frame is repeated, and a sample of a batch
    needs as many steps as every other.

    Args:
        anchors: N >= 0.
        first: the first frame [3, H, W] in [0, 1].

    Returns:
        Colours [T, 3, H, W] in [0, 1], where the anchors are.
    """
    video, seen = composite(anchors)
    video = fill_holes(video, seen, "filled").clone()
    video[0] = first
    shows = seen.flatten(1).any(1)
    shows[0] = True
    known = shows.nonzero()[:, 0]
    frames = torch.arange(len(video), device=known.device)
    return video[known[(frames[:, None] - known).abs().argmin(dim=1)]]


def start_latents(
    codec: VideoCodec,
    anchors: Sequence[Anchors],
    firsts: Float[Tensor, "B 3 H W"],
    device: torch.device | None = None,
) -> Float[Tensor, "B t C h w"]:
    """Scaled latents of what B videos start from, before noise is added.

    Args:
        codec: of the videos, whose autoencoder takes one at a time: its peak memory grows with the
            batch.
        anchors: of each video.
        firsts: first frames [B, 3, H, W] in [0, 1].
        device: as in `VideoCodec.encode`.
    """
    videos = (start_video(one, first) for one, first in zip(anchors, firsts, strict=True))
    return torch.cat([codec.encode(video[None], device) for video in videos])


@contextmanager
def last_steps(scheduler: SchedulerMixin, share: float) -> Iterator[None]:
    """Inside, the scheduler sets only the last timesteps.

    Args:
        scheduler: diffusers' pipeline lets it set its timesteps and takes what it finds there.
        share: of the steps that are run, in (0, 1]; at least one is.

    Raises:
        ValueError: a share out of range.
    """
    if not 0 < share <= 1:
        raise ValueError(f"start_share={share} is no share of the steps; give one in (0, 1]")
    set_all = scheduler.set_timesteps

    def set_last(num_inference_steps: int, device: str | torch.device | None = None) -> None:
        set_all(num_inference_steps, device)
        steps = max(round(share * num_inference_steps), 1)
        # Noise levels have one entry more than timesteps, that of the end.
        if len(getattr(scheduler, "sigmas", ())) == len(scheduler.timesteps) + 1:
            scheduler.sigmas = scheduler.sigmas[-steps - 1 :]
        scheduler.timesteps = scheduler.timesteps[-steps:]

    scheduler.set_timesteps = set_last
    try:
        yield
    finally:
        del scheduler.set_timesteps


class AnchoredStart:
    """A pipeline of diffusers that may start from latents with noise on them, not noise alone.

    To be mixed in ahead of the pipeline's class.
    """

    _start: Tensor | None = None

    def prepare_latents(self, *arguments, **named) -> tuple[Tensor, ...]:
        """Initial latents of diffusers' loop, and those of the image; see diffusers."""
        latents, *others = super().prepare_latents(*arguments, **named)
        if self._start is not None:
            first = self.scheduler.timesteps[:1]
            # The Euler sampler of flow matching calls it otherwise.
            if hasattr(self.scheduler, "add_noise"):
                latents = self.scheduler.add_noise(self._start.to(latents), latents, first)
            else:
                latents = self.scheduler.scale_noise(self._start.to(latents), first, latents)
        return latents, *others

    def progress_bar(self, iterable=None, total: int | None = None):
        """Diffusers' bar, as long as the steps that are run."""
        run = len(self.scheduler.timesteps)
        return super().progress_bar(iterable, total if total is None else run)

    @contextmanager
    def starting_at(self, start: Tensor, share: float) -> Iterator[None]:
        """While it is entered, diffusers' loop runs its last steps, from latents `start` on.

        Args:
            start: clean and scaled, in the axes of the pipeline's latents.
            share: of the steps, see `last_steps`.
        """
        self._start = start
        try:
            with last_steps(self.scheduler, share):
                yield
        finally:
            self._start = None
