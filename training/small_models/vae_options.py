"""VAETrainConfig: every option of training an autoencoder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from anchorweave.models.precision import Precision
from anchorweave.models.small.vae import VAEConfig
from anchorweave.ranges import check_numbers, within


@dataclass(frozen=True)
class VAETrainConfig:
    """Everything that training an autoencoder needs.

    Args:
        source: recordings to train on: a folder, "procedural:..." words, or a list.
        validation: recordings to measure on, of other places.
        output: the folder for what is written.
        start: folder of an autoencoder of this architecture that training begins with; null = new
            weights.
        part: what is trained: `all`, or the `decoder` alone, which leaves latents as they are, so
            that networks that were trained on them stay valid; needs `start`.
        seed: of the first weights and of everything drawn.
        size: (height, width) that frames are brought to.
        frames_per_recording: the first so many; null = all.
        frames_only: whether the run ends when all frames are decoded or rendered, which several
            processes may share (torchrun); a second run, in one process, then trains.
        clip: frames of one training crop; 8k + 1.
        crop: its (height, width).
        batch: crops in one step.
        steps: optimiser steps in all.
        learning_rate: of Muon and AdamW, at its highest; warmed up, then along a cosine.
        warmup: steps.
        loss: what the reconstruction is judged by.
        kl: weight of the mean divergence from a standard normal, against a mean error of pixels in
            [-1, 1].
        average: decay of the running average.
        precision: `bf16` = autocast; `auto` = bf16 except on a CPU without instructions for it.
        compile: whether the networks are compiled first (a minute or two, and a C++ compiler on a
            CPU), after which a step takes about a quarter less time. On a GPU a step is one CUDA
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
        # The decoder gives the first latent frame one video frame only where their number is odd.
        if self.clip % 8 != 1 or any(side % step for side in self.crop):
            raise ValueError(
                f"clip={self.clip} and crop={self.crop} do not fit: an autoencoder of these levels "
                f"trains on 8k + 1 frames with sides divisible by {step}"
            )
