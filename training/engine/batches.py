"""Which clip is at which place of which step, and what each rank loads of it.

The order is a function of the seed alone: clips are reshuffled for every epoch, and step s takes
the s-th `batch` of them. Resuming needs only the step number, and a run with another number of
ranks takes the same clips.
"""

from __future__ import annotations

import atexit
import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from multiprocessing.connection import wait
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from anchorweave.datasets.layout import BadClip
from anchorweave.datasets.training_clip import Samples, TrainingClip
from anchorweave.diffusion.process import NoiseProcess
from anchorweave.errors import EndedError
from training.draws.noise import DrawConfig, draw, sample_generator
from training.engine.signals import outlive_signals

# A killed process may be reported as ended only after its connections broke.
LAST_BREATH_SECONDS = 2.0


class Place(NamedTuple):
    """One sample: its step, its index in the step's batch over all ranks, and its clip."""

    step: int
    place: int
    clip: int


class RankBatches(Sampler[list[Place]]):
    """The samples of one rank, in the calls of the networks.

    Args:
        clips: number of clips.
        batch: samples per step, over all ranks.
        per_process: samples per call.
        rank: this rank.
        world: number of ranks.
        seed: seed of the order.
        steps: (first, last + 1).

    Raises:
        ValueError: a batch not divisible by calls and ranks, or no clips.
    """

    def __init__(
        self,
        clips: int,
        batch: int,
        per_process: int,
        rank: int,
        world: int,
        seed: int,
        steps: tuple[int, int],
    ):
        if clips < 1:
            raise ValueError("there are no clips to train on; name data sets in data.train")
        self.clips, self.batch, self.per_process = clips, batch, per_process
        self.rank, self.world, self.seed, self.steps = rank, world, seed, steps
        self.calls = calls_per_step(batch, per_process, world)

    def __len__(self) -> int:
        return (self.steps[1] - self.steps[0]) * self.calls

    def __iter__(self) -> Iterator[list[Place]]:
        for step in range(*self.steps):
            for call in range(self.calls):
                first = (call * self.world + self.rank) * self.per_process
                places = range(first, first + self.per_process)
                yield [Place(step, place, self.clip(step, place)) for place in places]

    def clip(self, step: int, place: int) -> int:
        """Which clip."""
        epoch, position = divmod(step * self.batch + place, self.clips)
        return int(_shuffled(self.seed, epoch, self.clips)[position])


def calls_per_step(batch: int, per_process: int, world: int) -> int:
    """Number of network calls that one rank accumulates gradients over.

    Raises:
        ValueError: a batch not divisible by calls and ranks.
    """
    calls, rest = divmod(batch, per_process * world)
    if rest or not calls:
        raise ValueError(
            f"batch={batch} is not divisible by {world} rank(s) with calls of "
            f"batch_per_process={per_process}; make it a multiple of {per_process * world}"
        )
    return calls


class DrawnClips(Dataset):
    """Clips with the random draws of their sample, drawn where they are loaded.

    Args:
        clips: a map-style data set of `TrainingClip`.
        config: draw options.
        process: the noise process.
        seed: seed of the run.
        empty_prompt: text features of the empty prompt, if captions are dropped.
        black: the latent of a black video, if hidden anchors are black.
    """

    def __init__(
        self,
        clips: Dataset,
        config: DrawConfig,
        process: NoiseProcess,
        seed: int,
        empty_prompt: Float[Tensor, "S D"] | None = None,
        black: Float[Tensor, "t C h w"] | None = None,
    ):
        self.clips, self.config, self.seed = clips, config, seed
        # Samples are drawn on the CPU, because workers have no other device.
        self.process = process.to("cpu")
        self.empty_prompt, self.black = empty_prompt, black

    def __getitem__(self, at: Place) -> Samples | tuple[BadClip, ...]:
        """A batch of the sample at a place; only the bad clips if all clips are bad.

        A bad clip is replaced by the next one, and listed in the sample.
        """
        bad: list[BadClip] = []
        for further in range(len(self.clips)):
            # Returned as a value, because only the training process can decide whether to raise it.
            try:
                clip = self.clips[(at.clip + further) % len(self.clips)]
            except BadClip as error:
                bad.append(error)
                continue
            return replace(self.drawn(clip, at), bad=tuple(bad))
        return tuple(bad)

    def drawn(self, clip: TrainingClip, at: Place) -> Samples:
        """A clip as the sample at a place, a batch of one."""
        generator = sample_generator(self.seed, at.step, at.place)
        options = (self.config, self.process, generator, self.empty_prompt, self.black)
        return draw(clip, *options, place=at.place)


def stacked(samples: Sequence[Samples | tuple[BadClip, ...]]) -> Samples | tuple[BadClip, ...]:
    """The samples of one call as one batch; only the bad clips if a place has no sample."""
    valid = [item for item in samples if isinstance(item, Samples)]
    if len(valid) == len(samples):
        return Samples.join(valid)
    return tuple(
        error for item in samples for error in (item.bad if isinstance(item, Samples) else item)
    )


@contextmanager
def training_calls(
    clips: DrawnClips, batches: RankBatches, workers: int
) -> Iterator[Iterator[Samples | tuple[BadClip, ...]]]:
    """The calls of one rank in order, loaded ahead of time if there are workers.

    However the body ends, its workers are ended with it: they hold no state to save.

    Raises:
        EndedError: a worker was killed, whatever error this caused here, such as in a connection.
    """
    others = set(multiprocessing.active_children())

    def end_workers() -> None:
        _kill([child for child in multiprocessing.active_children() if child not in others])

    # Even if the code below is interrupted: Python's own exit would wait for workers forever.
    atexit.register(end_workers)
    loader = DataLoader(
        clips,
        batch_sampler=batches,
        collate_fn=stacked,
        num_workers=workers,
        worker_init_fn=outlive_signals,
        # So that a batch is transferred while the host continues.
        pin_memory=torch.cuda.is_available(),
    )
    own: list[multiprocessing.Process] = []
    try:
        calls = iter(loader)
        own = [child for child in multiprocessing.active_children() if child not in others]
        yield calls
    # Of any type: torch raises from a signal handler, in whatever code this process is running,
    # which may have converted it to another error.
    except Exception as error:
        if (how := _how_ended(own)) is None:
            raise
        raise EndedError(
            f"a data loading process was ended {how}; if memory ran out, lower data.workers; "
            "the same command resumes from the newest checkpoint"
        ) from error
    finally:
        end_workers()
        atexit.unregister(end_workers)


def _how_ended(children: list[multiprocessing.Process]) -> str | None:
    """How a worker ended that did not end by itself; None = there is none."""
    with _told_by_nobody():
        ending = wait([child.sentinel for child in children], LAST_BREATH_SECONDS)
        for child in children:
            # Its files are closed a moment before its exit status is available.
            if child.sentinel in ending:
                child.join()
    codes = [child.exitcode for child in children if child.exitcode]
    if not codes:
        return None
    return f"by {signal.Signals(-codes[0]).name}" if codes[0] < 0 else f"with code {codes[0]}"


@contextmanager
def _told_by_nobody() -> Iterator[None]:
    # torch raises in arbitrary code when a worker ends that it still expects results from.
    before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)


def _kill(children: list[multiprocessing.Process]) -> None:
    if not children:
        return
    with _told_by_nobody():
        for child in children:
            child.kill()
        for child in children:
            child.join()


@lru_cache(maxsize=4)
def _shuffled(seed: int, epoch: int, clips: int) -> np.ndarray:
    # The text separates this random stream from those of samples, which also use three numbers.
    word = int.from_bytes(b"order", "big")
    return np.random.default_rng((seed, epoch, word, clips)).permutation(clips)
