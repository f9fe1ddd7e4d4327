"""TrainConfig: every option of a training run, in the sections that own them.

What a value is good for is said here, what the paper and the released code set is said in
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

# In minutes; torch takes a wait of any length, but not of every number.
A_YEAR = 365 * 24 * 60


@dataclass(frozen=True)
class DataConfig:
    """What is trained on.

    Args:
        train: folders of data sets with their shares: `data/dl3dv:3 data/realestate10k:1` (the
            paper's and the released code's mixture); one alone needs none.
        memory: whose anchors and references are woven, a memory system's name.
        visible_first_frame: as in sampling: `seen`, or `always` as the released controller was
            trained.
        validation: a data set that is measured on and never trained; null = no validation.
        workers: processes that load clips, on each rank; 0 = the training process itself.
        on_bad_clip: `error` stops at the first clip that breaks while training, with its path;
            `quarantine` takes the next clip in its place and writes its path to `bad_clips.jsonl`.
        bad_clip_share: the run stops when more than this share of the clips broke.
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
            ValueError: no folder, one that is named twice, or a share that is no whole number.
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
        learning_rate: at its highest.
        beta1: of AdamW.
        beta2: of AdamW.
        weight_decay: of AdamW.
        epsilon: of AdamW.
        clip: largest norm of the gradient of all trained weights together.
        schedule: `constant_with_warmup`, `linear`, `cosine` or `cosine_with_restarts`.
        warmup: steps from zero to the learning rate.
        cycles: of `cosine_with_restarts`.
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
    """Steps that are not taken. Not in the paper nor in the released code.

    Args:
        abnormal: a gradient whose norm is this many times the running mean of earlier ones is not
            applied; null = any finite one is. One that is not finite never is.
        limit: the run stops when more than this many of the last `window` steps were skipped.
        window: in steps.
    """

    abnormal: float | None = within(20.0, above=1)
    limit: int = within(10, at_least=0)
    window: int = within(100, at_least=1)


@dataclass(frozen=True)
class CheckpointConfig:
    """When the run is saved; it always is at its end and on SIGTERM or SIGUSR1.

    Args:
        every_steps: in steps.
        every_minutes: in minutes since the last one; null = never for the clock's sake.
        keep: the newest ones that stay; the best one (by validation loss) stays as well.
    """

    every_steps: int = within(500, at_least=1)
    every_minutes: float | None = within(30.0, above=0)
    keep: int = within(3, at_least=1)


@dataclass(frozen=True)
class ValidationConfig:
    """Measuring on `data.validation`, on all ranks together.

    Args:
        every: in steps; also at the end.
        seed: of the fixed noise.
        clips: how many of the first clips the loss is measured on, live and averaged weights.
        videos: how many of the first clips are sampled and compared with the truth; needs the VAE.
        videos_every: in steps; also at the end.
        steps: denoising steps of a sampled video.
        control_window: as in sampling.
        fps: of the videos.
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
    """Where numbers go, beside `log.jsonl`, which is always written.

    Args:
        trackers: any of `wandb`, `tensorboard`.
        project: name in wandb.
        wandb_mode: `offline` writes to the output folder only (`wandb sync` sends it later).
        every: steps from one printed line to the next.
        picture_every: steps from one `loss_by_timestep.png` to the next.
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
        resume: `latest` goes on from the newest complete checkpoint in `output`, or starts anew
            where there is none; a path goes on from that one; `never` refuses an `output` with
            checkpoints in it.
        seed: of everything random: the first weights, the order of clips, noise, what is hidden.
        steps: optimiser steps in all.
        batch: clips in one step, over all ranks.
        batch_per_process: clips in one call of the networks; `batch` divided by it and by the
            number of ranks is the number of calls that are accumulated.
        precision: `bf16` = autocast, float32 master weights, a frozen backbone in bf16; `fp32` =
            float32 throughout; `auto` = bf16 except on a CPU without instructions for it.
        strategy: what the run is expected to be spread by; another one than it was launched with
            is an error. `any` takes what it gets.
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
        """Whose anchors and references are read; None where neither is woven."""
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
        """Refuse what a strategy that shards weights cannot do.

        Raises:
            ValueError: compiled blocks, whose weights are to be gathered in their midst.
        """
        if self.model.compile != "none" and strategy in ("fsdp2", "zero2"):
            raise ValueError(
                f"model.compile={self.model.compile} is not for {strategy}, whose blocks "
                "gather their weights in every call; set model.compile=none"
            )
