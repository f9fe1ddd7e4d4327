"""Which clip stands at which place of which step, and what each rank loads of it.

The order is a function of the seed alone: clips are shuffled anew for every epoch, and step s takes
the s-th `batch` of them. Going on from a step needs no more than its number, and a run on other
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

# A process that was killed may be seen to have ended only after its connections broke.
LAST_BREATH_SECONDS = 2.0


class Place(NamedTuple):
    """One sample: which step, its number in the step's batch over all ranks, and which clip."""

    step: int
    place: int
    clip: int


class RankBatches(Sampler[list[Place]]):
    """The samples of one rank, call by call of the networks.

    Args:
        clips: how many there are.
        batch: samples of one step, over all ranks.
        per_process: samples of one call.
        rank: this one.
        world: how many ranks.
        seed: of the order.
        steps: (first, behind the last).

    Raises:
        ValueError: a batch that calls and ranks do not divide, or no clip at all.
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
            raise ValueError("there is no clip to train on; name data sets by data.train")
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
    """Calls of the networks that one rank's gradient is accumulated over.

    Raises:
        ValueError: a batch that calls and ranks do not divide.
    """
    calls, rest = divmod(batch, per_process * world)
    if rest or not calls:
        raise ValueError(
            f"batch={batch} is not shared evenly by {world} rank(s) in calls of "
            f"batch_per_process={per_process}; make it a multiple of {per_process * world}"
        )
    return calls


class DrawnClips(Dataset):
    """Clips with everything random of their sample, drawn where they are loaded.

    Args:
        clips: a map-style data set of `TrainingClip`.
        config: what is drawn.
        process: the noise process.
        seed: of the run.
        empty_prompt: text features of the empty prompt, where captions are dropped.
        black: the latent of a black video, where hidden anchors show it.
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
        # Samples are drawn on the CPU, by workers that have no other device.
        self.process = process.to("cpu")
        self.empty_prompt, self.black = empty_prompt, black

    def __getitem__(self, at: Place) -> Samples | tuple[BadClip, ...]:
        """A batch of the sample at a place; the bad clips alone where all clips are bad.

        A bad clip gives its place to the next one, and is named by the sample.
        """
        bad: list[BadClip] = []
        for further in range(len(self.clips)):
            # Handed on as a value: where it is raised, only its place in training can decide.
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
        given = (self.config, self.process, generator, self.empty_prompt, self.black)
        return draw(clip, *given, place=at.place)


def stacked(samples: Sequence[Samples | tuple[BadClip, ...]]) -> Samples | tuple[BadClip, ...]:
    """The samples of one call as one batch; the bad clips alone if a place has no sample."""
    found = [one for one in samples if isinstance(one, Samples)]
    if len(found) == len(samples):
        return Samples.join(found)
    return tuple(
        error for one in samples for error in (one.bad if isinstance(one, Samples) else one)
    )


@contextmanager
def training_calls(
    clips: DrawnClips, batches: RankBatches, workers: int
) -> Iterator[Iterator[Samples | tuple[BadClip, ...]]]:
    """The calls of one rank in their order, loaded ahead of time where there are workers.

    However the body ends, its workers end with it: they hold nothing that would have to be saved.

    Raises:
        EndedError: a worker was killed, whatever that broke here: a connection to it, say.
    """
    others = set(multiprocessing.active_children())

    def end_workers() -> None:
        _kill([child for child in multiprocessing.active_children() if child not in others])

    # Where even what follows is interrupted: Python's own exit would wait for workers for ever.
    atexit.register(end_workers)
    loader = DataLoader(
        clips,
        batch_sampler=batches,
        collate_fn=stacked,
        num_workers=workers,
        worker_init_fn=outlive_signals,
        # So that a batch is on its way while the host goes on.
        pin_memory=torch.cuda.is_available(),
    )
    own: list[multiprocessing.Process] = []
    try:
        calls = iter(loader)
        own = [child for child in multiprocessing.active_children() if child not in others]
        yield calls
    # Of any kind: torch raises from a signal handler, wherever this process is, and whatever code
    # was running there may have turned that into an error of its own.
    except Exception as error:
        if (how := _how_ended(own)) is None:
            raise
        raise EndedError(
            f"a process that loads clips was ended {how}; if memory ran out, lower data.workers; "
            "the same command goes on from the newest checkpoint"
        ) from error
    finally:
        end_workers()
        atexit.unregister(end_workers)


def _how_ended(children: list[multiprocessing.Process]) -> str | None:
    """In words, of one that did not end by itself; None = there is none."""
    with _told_by_nobody():
        ending = wait([child.sentinel for child in children], LAST_BREATH_SECONDS)
        for child in children:
            # Its files are closed a moment before it can be asked how it ended.
            if child.sentinel in ending:
                child.join()
    codes = [child.exitcode for child in children if child.exitcode]
    if not codes:
        return None
    return f"by {signal.Signals(-codes[0]).name}" if codes[0] < 0 else f"with code {codes[0]}"


@contextmanager
def _told_by_nobody() -> Iterator[None]:
    # torch raises in the midst of whatever is going on when a worker ends that it still counts on.
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
    # The word keeps this stream apart from those of single samples, which have three numbers too.
    word = int.from_bytes(b"order", "big")
    return np.random.default_rng((seed, epoch, word, clips)).permutation(clips)
