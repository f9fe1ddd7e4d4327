"""VAETrainConfig: every option of training an autoencoder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from anchorweave.models.precision import Precision
from anchorweave.models.small.vae import VAEConfig
from anchorweave.ranges import check_numbers, within


@dataclass(frozen=True)
class VAETrainConfig:
    """Options of training an autoencoder.

    Args:
        source: recordings to train on: a folder, a "procedural:..." description, or a list.
        validation: recordings of other places, for validation.
        output: the output folder.
        start: folder of an autoencoder of this architecture to start from; null = new weights.
        part: what is trained: `all`, or the `decoder` alone, which leaves latents unchanged, so
            that networks trained on them stay valid; needs `start`.
        seed: seed of the initial weights and all random draws.
        size: (height, width) that frames are resized to.
        frames_per_recording: uses this many frames from the start; null = all.
        frames_only: stop once all frames are decoded or rendered, which several processes may share
            (torchrun); a second run, in one process, then trains.
        clip: frames of a training crop; 8k + 1.
        crop: its (height, width).
        batch: crops per step.
        steps: total number of optimiser steps.
        learning_rate: peak learning rate of Muon and AdamW; warm-up, then cosine decay.
        warmup: number of warm-up steps.
        loss: the reconstruction loss.
        kl: weight of the mean KL divergence from a standard normal, relative to a mean error of
            pixels in [-1, 1].
        average: decay of the running average.
        precision: `bf16` = autocast; `auto` = bf16 except on a CPU without instructions for it.
        compile: whether to compile the networks first (a minute or two, and needs a C++ compiler on
            a CPU), which saves about a quarter of the time per step. On a GPU a step is one CUDA
            graph in any case.
        validate_every: in steps; also at the end.
        save_every: likewise.
        vae: its architecture.

    Raises:
        ValueError: a number out of range, or a crop that does not fit the autoencoder.
    """

    source: Any = "procedural:seed=0..2,frames=24,size=64x96"
    validation: Any = "procedural:seed=900000,frames=24,size=64x96"
    output: str = "outputs/vae"
    start: str | None = None
    part: Literal["all", "decoder"] = "all"
    seed: int = within(0, at_least=0)
    size: tuple[int, int] = within((64, 96), at_least=1)
    frames_per_recording: int | None = within(None, at_least=1)
    frames_only: bool = False
    clip: int = within(9, at_least=1)
    crop: tuple[int, int] = within((48, 48), at_least=1)
    batch: int = within(4, at_least=1)
    steps: int = within(4000, at_least=1)
    learning_rate: float = within(1e-3, above=0, at_most=1)
    warmup: int = within(100, at_least=0)
    loss: Literal["l1", "l2"] = "l1"
    kl: float = within(1e-4, at_least=0)
    average: float = within(0.998, at_least=0, below=1)
    precision: Precision = "auto"
    compile: bool = False
    validate_every: int = within(500, at_least=1)
    save_every: int = within(250, at_least=1)
    vae: VAEConfig = field(default_factory=VAEConfig)

    def __post_init__(self):
        check_numbers(self)
        if self.part == "decoder" and self.start is None:
            raise ValueError("part=decoder trains beside an encoder that is there: name a start=")
        step = self.vae.in_space
        # The decoder maps the first latent frame to one video frame only if their number is odd.
        if self.clip % 8 != 1 or any(side % step for side in self.crop):
            raise ValueError(
                f"clip={self.clip} and crop={self.crop} do not fit: an autoencoder of these levels "
                f"trains on 8k + 1 frames with sides divisible by {step}"
            )
