"""Sampling that starts from noised anchors instead of pure noise; our addition."""

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
    """A video to start sampling from: the composite of the anchors with holes filled.

    Frame 0 is the given one. A frame that no anchor covers repeats the nearest covered frame in
    time (the earlier one of two), or the given first frame. So without any anchor the first frame
    is repeated, and all samples of a batch need the same number of steps.

    Args:
        anchors: N >= 0.
        first: the first frame [3, H, W] in [0, 1].

    Returns:
        Colours [T, 3, H, W] in [0, 1], on the anchors' device.
    """
    video, seen = composite(anchors)
    video = fill_holes(video, seen, "filled").clone()
    video[0] = first
    shows = seen.flatten(1).any(1)
    shows[0] = True
    covered = shows.nonzero()[:, 0]
    frames = torch.arange(len(video), device=covered.device)
    return video[covered[(frames[:, None] - covered).abs().argmin(dim=1)]]


def start_latents(
    codec: VideoCodec,
    anchors: Sequence[Anchors],
    firsts: Float[Tensor, "B 3 H W"],
    device: torch.device | None = None,
) -> Float[Tensor, "B t C h w"]:
    """Scaled latents that B videos start from, before noise is added.

    Args:
        codec: encodes the videos one at a time, because the autoencoder's peak memory grows with
            the batch.
        anchors: anchors of each video.
        firsts: first frames [B, 3, H, W] in [0, 1].
        device: as in `VideoCodec.encode`.
    """
    videos = (start_video(shown, first) for shown, first in zip(anchors, firsts, strict=True))
    return torch.cat([codec.encode(video[None], device) for video in videos])


@contextmanager
def last_steps(scheduler: SchedulerMixin, share: float) -> Iterator[None]:
    """Context in which the scheduler uses only the last timesteps.

    Args:
        scheduler: diffusers' pipeline sets its timesteps and uses the ones stored in it.
        share: fraction of the steps to run, in (0, 1]; at least one.

    Raises:
        ValueError: a share out of range.
    """
    if not 0 < share <= 1:
        raise ValueError(f"start_share={share} must be a fraction of the steps in (0, 1]")
    set_all = scheduler.set_timesteps

    def set_last(num_inference_steps: int, device: str | torch.device | None = None) -> None:
        set_all(num_inference_steps, device)
        steps = max(round(share * num_inference_steps), 1)
        # Noise levels have one more entry than timesteps, that of the end.
        if len(getattr(scheduler, "sigmas", ())) == len(scheduler.timesteps) + 1:
            scheduler.sigmas = scheduler.sigmas[-steps - 1 :]
        scheduler.timesteps = scheduler.timesteps[-steps:]

    scheduler.set_timesteps = set_last
    try:
        yield
    finally:
        del scheduler.set_timesteps


class AnchoredStart:
    """A diffusers pipeline that may start from noised latents instead of pure noise.

    A mixin that must precede the pipeline's class.
    """

    _start: Tensor | None = None

    def prepare_latents(self, *arguments, **named) -> tuple[Tensor, ...]:
        """Initial latents of diffusers' loop, and the image latents; see diffusers."""
        latents, *others = super().prepare_latents(*arguments, **named)
        if self._start is not None:
            first = self.scheduler.timesteps[:1]
            # The Euler sampler for flow matching names this method differently.
            if hasattr(self.scheduler, "add_noise"):
                latents = self.scheduler.add_noise(self._start.to(latents), latents, first)
            else:
                latents = self.scheduler.scale_noise(self._start.to(latents), first, latents)
        return latents, *others

    def progress_bar(self, iterable=None, total: int | None = None):
        """Diffusers' progress bar, limited to the steps that are run."""
        run = len(self.scheduler.timesteps)
        return super().progress_bar(iterable, total if total is None else run)

    @contextmanager
    def starting_at(self, start: Tensor, share: float) -> Iterator[None]:
        """Context in which diffusers' loop runs only its last steps, starting from `start`.

        Args:
            start: clean and scaled latents, in the axis order of the pipeline's latents.
            share: fraction of the steps, see `last_steps`.
        """
        self._start = start
        try:
            with last_steps(self.scheduler, share):
                yield
        finally:
            self._start = None
