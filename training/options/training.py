"""TrainConfig: every option of a training run, in the sections that own them.

What each value does is documented here; what the paper and the released code use, in
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

# In minutes; torch accepts long timeouts, but not arbitrarily large numbers.
A_YEAR = 365 * 24 * 60


@dataclass(frozen=True)
class DataConfig:
    """Training and validation data.

    Args:
        train: folders of data sets with their shares: `data/dl3dv:3 data/realestate10k:1` (the
            paper's and the released code's mixture); a single one needs no share.
        memory: the memory system whose anchors and references are used.
        visible_first_frame: as in sampling: `seen`, or `always` as the released controller was
            trained.
        validation: a data set for validation only; null = no validation.
        workers: data loading processes per rank; 0 = load in the training process.
        on_bad_clip: `error` stops at the first clip that fails during training, with its path;
            `quarantine` uses the next clip instead and records its path in `bad_clips.jsonl`.
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
            ValueError: no folder, a duplicate, or a share that is not an integer.
        """
        shares = {}
        for word in self.train.split():
            folder, colon, share = word.rpartition(":")
            if colon and not share.isdigit():
                raise ValueError(f"data.train: {word!r} is not FOLDER:SHARE with an integer share")
            folder = folder or word
            if same := [name for name in shares if Path(name).resolve() == Path(folder).resolve()]:
                raise ValueError(
                    f"data.train names {same[0]} twice ({self.train!r}); name each data set once, "
                    "with one share"
                )
            shares[folder] = int(share) if colon else 1
        if not shares:
            raise ValueError(
                "data.train names no data set; give FOLDER, or FOLDER:SHARE for several"
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
        clip: maximum norm of the gradient of all trained weights together.
        schedule: `constant_with_warmup`, `linear`, `cosine` or `cosine_with_restarts`.
        warmup: warm-up steps from zero to the peak.
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
    """The EMA of the trained weights, in float32, from the first step on.

    Args:
        enabled: whether to keep an EMA.
        decay: reached after a warm-up of (1 + step) / (10 + step).
    """

    enabled: bool = True
    decay: float = within(0.995, at_least=0, below=1)


@dataclass(frozen=True)
class GuardConfig:
    """Which steps to skip. Neither in the paper nor in the released code.

    Args:
        abnormal: gradients with more than this many times the running mean norm are not
            applied; null = all finite ones are. Non-finite gradients are never applied.
        limit: the run stops if more than this many of the last `window` steps were skipped.
        window: number of steps.
    """

    abnormal: float | None = within(20.0, above=1)
    limit: int = within(10, at_least=0)
    window: int = within(100, at_least=1)


@dataclass(frozen=True)
class CheckpointConfig:
    """When to save the run; it is always saved at its end and on SIGTERM or SIGUSR1.

    Args:
        every_steps: interval in steps.
        every_minutes: maximum minutes since the last one; null = no limit.
        keep: how many of the newest to keep; the best one (by validation loss) is kept as well.
    """

    every_steps: int = within(500, at_least=1)
    every_minutes: float | None = within(30.0, above=0)
    keep: int = within(3, at_least=1)


@dataclass(frozen=True)
class ValidationConfig:
    """Validation on `data.validation`, on all ranks together.

    Args:
        every: interval in steps; also at the end.
        seed: seed of the fixed noise.
        clips: measure the loss of this many first clips, with live and EMA weights.
        videos: sample this many first clips and compare them with the truth; needs the VAE.
        videos_every: interval in steps; also at the end.
        steps: denoising steps of a sampled video.
        control_window: as in sampling.
        fps: frames per second of the videos.
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
    """Where to log, besides `log.jsonl`, which is always written.

    Args:
        trackers: any of `wandb`, `tensorboard`.
        project: project name in wandb.
        wandb_mode: `offline` writes only to the output folder (`wandb sync` uploads it later).
        every: steps between printed lines.
        picture_every: steps between updates of `loss_by_timestep.png`.
    """

    trackers: list[str] = field(default_factory=list)
    project: str = "anchorweave"
    wandb_mode: Literal["offline", "online"] = "offline"
    every: int = within(10, at_least=1)
    picture_every: int = within(100, at_least=1)


@dataclass(frozen=True)
class TrainConfig:
    """Everything a run of `training.train` needs.

    Args:
        output: the folder for checkpoints, logs and plots.
        resume: `latest` resumes from the newest complete checkpoint in `output`, or starts from
            scratch if there is none; a path resumes from that one; `never` refuses an `output` with
            checkpoints in it.
        seed: seed of all randomness: initial weights, order of clips, noise, dropout.
        steps: total number of optimiser steps.
        batch: clips per step, over all ranks.
        batch_per_process: clips per network call; `batch` divided by it and by the
            number of ranks is the number of gradient accumulation steps.
        precision: `bf16` = autocast, float32 master weights, a frozen backbone in bf16; `fp32` =
            float32 throughout; `auto` = bf16 except on a CPU without bfloat16 instructions.
        strategy: the expected distribution strategy; launching with another one is an error.
            `any` accepts all.
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
        """The memory system whose anchors and references are read; None if neither is used."""
        return self.data.memory if self.model.woven or self.model.has_references else None

    def __post_init__(self):
        check_numbers(self)
        self.data.shares()
        self.refuse_sharded(self.strategy)
        if self.validation.videos and self.strategy in ("fsdp2", "zero2"):
            raise ValueError(
                f"validation.videos={self.validation.videos} samples on every rank separately, "
                f"which strategy={self.strategy} cannot; set validation.videos=0 (the loss is "
                "still measured) and sample from a checkpoint"
            )

    def refuse_sharded(self, strategy: str) -> None:
        """Refuses options that a strategy with sharded weights does not support.

        Raises:
            ValueError: compiled blocks, because weights are gathered inside them.
        """
        if self.model.compile != "none" and strategy in ("fsdp2", "zero2"):
            raise ValueError(
                f"model.compile={self.model.compile} is not supported with {strategy}, whose "
                "blocks gather their weights in every call; set model.compile=none"
            )
