"""TrainConfig: every option of a training run, grouped in sections.

The purpose of each value is documented here; the values of the paper and the released code are in
`configs/train/cogvideox_5b_faithful.yaml`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from anchorweave.diffusion.objective import ObjectiveConfig
from anchorweave.models.precision import Precision
from anchorweave.ranges import check_numbers, within
from training.draws.noise import DrawConfig
from training.options.networks import NetworkConfig

# In minutes; torch accepts any reasonable timeout, but overflows for huge ones.
A_YEAR = 365 * 24 * 60


@dataclass(frozen=True)
class DataConfig:
    """The training data.

    Args:
        train: folders of data sets with their shares: `data/dl3dv:3 data/realestate10k:1` (the
            paper's and the released code's mixture); a single one needs no share.
        memory: memory system whose anchors and references are used.
        visible_first_frame: as in sampling: `seen`, or `always` as the released controller was
            trained.
        validation: a data set for validation only; null = no validation.
        workers: data loader processes per rank; 0 = the training process itself.
        on_bad_clip: `error` stops at the first clip that cannot be loaded, with its path;
            `quarantine` takes the next clip instead and writes its path to `bad_clips.jsonl`.
        bad_clip_share: the run stops if more than this fraction of the clips failed.
    """

    train: str = "outputs/prepared"
    memory: str = "local_clouds"
    visible_first_frame: Literal["seen", "always"] = "seen"
    validation: str | None = None
    workers: int = within(0, at_least=0)
    on_bad_clip: Literal["error", "quarantine"] = "error"
    bad_clip_share: float = within(0.01, at_least=0, at_most=1)

    def shares(self) -> dict[str, int]:
        """The data sets to train on, by folder, with their shares.

        Raises:
            ValueError: no folder, a duplicate folder, or a share that is not an integer.
        """
        shares = {}
        for word in self.train.split():
            folder, colon, share = word.rpartition(":")
            if colon and not share.isdigit():
                raise ValueError(
                    f"data.train: {word!r} is no FOLDER:SHARE with a whole number for a share"
                )
            folder = folder or word
            if same := [one for one in shares if Path(one).resolve() == Path(folder).resolve()]:
                raise ValueError(
                    f"data.train names {same[0]} twice ({self.train!r}); name each data set once, "
                    "with one share"
                )
            shares[folder] = int(share) if colon else 1
        if not shares:
            raise ValueError(
                "data.train names no data set; give FOLDER, or FOLDER:SHARE of several"
            )
        return shares


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW and its learning rate.

    Args:
        learning_rate: peak learning rate.
        beta1: AdamW's beta1.
        beta2: AdamW's beta2.
        weight_decay: AdamW's weight decay.
        epsilon: AdamW's epsilon.
        clip: maximum gradient norm of all trained weights together.
        schedule: `constant_with_warmup`, `linear`, `cosine` or `cosine_with_restarts`.
        warmup: number of warm-up steps from zero to the peak learning rate.
        cycles: number of cycles of `cosine_with_restarts`.
    """

    learning_rate: float = within(2e-4, above=0, at_most=1)
    beta1: float = within(0.9, at_least=0, below=1)
    beta2: float = within(0.95, at_least=0, below=1)
    weight_decay: float = within(1e-4, at_least=0, at_most=1)
    epsilon: float = within(1e-8, above=0, at_most=1)
    clip: float = within(1.0, above=0)
    schedule: Literal["constant_with_warmup", "linear", "cosine", "cosine_with_restarts"] = (
        "cosine_with_restarts"
    )
    warmup: int = within(50, at_least=0)
    cycles: int = within(1, at_least=1)


@dataclass(frozen=True)
class AverageConfig:
    """The running average (EMA) of the trained weights, in float32, from the first step on.

    Args:
        enabled: whether one is kept.
        decay: reached after a warm-up of (1 + step) / (10 + step).
    """

    enabled: bool = True
    decay: float = within(0.995, at_least=0, below=1)


@dataclass(frozen=True)
class GuardConfig:
    """When to skip steps. Not in the paper nor in the released code.

    Args:
        abnormal: skips a gradient whose norm is this many times the running mean of earlier ones;
            null = any finite one is applied. Non-finite ones are always skipped.
        limit: the run stops when more than this many of the last `window` steps were skipped.
        window: in steps.
    """

    abnormal: float | None = within(20.0, above=1)
    limit: int = within(10, at_least=0)
    window: int = within(100, at_least=1)


@dataclass(frozen=True)
class CheckpointConfig:
    """When checkpoints are saved; in addition to the end of the run and SIGTERM or SIGUSR1.

    Args:
        every_steps: in steps.
        every_minutes: in minutes since the last one; null = not time-based.
        keep: number of newest ones kept; the best one (by validation loss) is kept as well.
    """

    every_steps: int = within(500, at_least=1)
    every_minutes: float | None = within(30.0, above=0)
    keep: int = within(3, at_least=1)


@dataclass(frozen=True)
class ValidationConfig:
    """Validation on `data.validation`, on all ranks together.

    Args:
        every: in steps; also at the end.
        seed: seed of the fixed noise.
        clips: number of clips, from the first on, for the loss, with live and averaged weights.
        videos: number of clips, from the first on, to sample and compare with the truth; needs the
            VAE.
        videos_every: in steps; also at the end.
        steps: denoising steps of a sampled video.
        control_window: as in sampling.
        fps: frame rate of the videos.
    """

    every: int = within(500, at_least=1)
    seed: int = within(0, at_least=0)
    clips: int = within(16, at_least=1)
    videos: int = within(0, at_least=0)
    videos_every: int = within(500, at_least=1)
    steps: int = within(25, at_least=1)
    control_window: tuple[float, float] = within((0.0, 0.8), at_least=0, at_most=1)
    fps: int = within(8, at_least=1)


@dataclass(frozen=True)
class LoggingConfig:
    """Logging, in addition to `log.jsonl`, which is always written.

    Args:
        trackers: any of `wandb`, `tensorboard`.
        project: name in wandb.
        wandb_mode: `offline` writes to the output folder only (`wandb sync` uploads it later).
        every: number of steps between printed lines.
        picture_every: number of steps between updates of `loss_by_timestep.png`.
    """

    trackers: list[str] = field(default_factory=list)
    project: str = "anchorweave"
    wandb_mode: Literal["offline", "online"] = "offline"
    every: int = within(10, at_least=1)
    picture_every: int = within(100, at_least=1)


@dataclass(frozen=True)
class TrainConfig:
    """Everything one run of `training.train` needs.

    Args:
        output: the folder for checkpoints, logs and pictures.
        resume: `latest` resumes from the newest complete checkpoint in `output`, or starts a new
            run if there is none; a path resumes from that one; `never` rejects an `output` with
            checkpoints in it.
        seed: seed of all randomness: initial weights, the order of clips, noise, dropout.
        steps: total number of optimiser steps.
        batch: clips per step, over all ranks.
        batch_per_process: clips per forward call; `batch` divided by it and by the number of ranks
            is the number of gradient accumulation calls.
        precision: `bf16` = autocast, float32 master weights, a frozen backbone in bf16; `fp32` =
            float32 throughout; `auto` = bf16 except on a CPU without instructions for it.
        strategy: the expected distribution strategy; launching with another one is an error. `any`
            accepts all.
        timeout_minutes: how long a rank waits for the others before it gives up.
    """

    output: str = "outputs/train"
    resume: str = "latest"
    seed: int = within(3407, at_least=0)
    steps: int = within(10_000, at_least=1)
    batch: int = within(8, at_least=1)
    batch_per_process: int = within(1, at_least=1)
    precision: Precision = "fp32"
    strategy: Literal["any", "single", "ddp", "fsdp2", "zero2"] = "any"
    timeout_minutes: float = within(30.0, above=0, at_most=A_YEAR)
    data: DataConfig = field(default_factory=DataConfig)
    model: NetworkConfig = field(default_factory=NetworkConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    draw: DrawConfig = field(default_factory=DrawConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    average: AverageConfig = field(default_factory=AverageConfig)
    guard: GuardConfig = field(default_factory=GuardConfig)
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    logging: LoggingConfig = field(default_factory=LoggingConfig)

    @property
    def memory(self) -> str | None:
        """Memory system whose anchors and references are read; None if neither is used."""
        return self.data.memory if self.model.woven or self.model.has_references else None

    def __post_init__(self):
        check_numbers(self)
        self.data.shares()
        self.refuse_sharded(self.strategy)
        if self.validation.videos and self.strategy in ("fsdp2", "zero2"):
            raise ValueError(
                f"validation.videos={self.validation.videos} samples on every rank by itself, "
                f"which strategy={self.strategy} cannot; set validation.videos=0 (the loss is "
                "still measured) and sample from a checkpoint"
            )

    def refuse_sharded(self, strategy: str) -> None:
        """Rejects options that do not work with strategies that shard weights.

        Raises:
            ValueError: compiled blocks, whose weights would be gathered inside the compiled graph.
        """
        if self.model.compile != "none" and strategy in ("fsdp2", "zero2"):
            raise ValueError(
                f"model.compile={self.model.compile} is not for {strategy}, whose blocks "
                "gather their weights in every call; set model.compile=none"
            )
