"""Trains the weaving controller, or the backbone without it, on prepared, precomputed clips.

    python -m training.train                                    # tiny, one process, on a CPU
    python -m training.train data.train=outputs/clips steps=200
    python -m training.train config=configs/train/cogvideox_5b.yaml --dry-run
    ACCELERATE_CONFIG=configs/accelerate/eight_gpus_ddp.yaml bash scripts/train_with_latent.sh \
        config=configs/train/cogvideox_5b.yaml

Writes to `output`: checkpoints/, log.jsonl, loss.png, loss_by_timestep.png, validation/,
config.yaml, origin.json and clips.json. Run again, it resumes from the newest complete checkpoint,
and reports which clips were removed or added since.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch.distributed.elastic.multiprocessing.errors import record

from anchorweave.command import Command
from anchorweave.config import load_config
from anchorweave.datasets.mixture import open_clips
from training.dry_run import dry_run
from training.engine.assembly import prepare_run
from training.engine.loop import train
from training.engine.signals import stop_on_signals
from training.engine.strategy import check_launch, ranks_together
from training.engine.validation import Validation
from training.options.training import TrainConfig
from training.preparing.one_run import one_run_in

DEFAULT = "configs/train/tiny.yaml"
DRY_RUN = "--dry-run"


@record
def main(words: Sequence[str]) -> None:
    """Trains, with `a.b=c` overrides; `--dry-run` reports what it would take."""
    config = load_config(TrainConfig, [word for word in words if word != DRY_RUN], DEFAULT)
    if DRY_RUN in words:
        return dry_run(config)
    check_launch(config)
    with (
        stop_on_signals() as stop,
        ranks_together(config) as accelerator,
        one_run_in(config.output),
    ):
        run = prepare_run(config, accelerator)
        validation = None
        if config.data.validation is not None:
            data = config.data
            clips = open_clips(data.validation, config.memory, data.visible_first_frame)
            validation = Validation(config, clips, run.networks.process)
        train(run, validation, stop)


COMMAND = Command(
    main,
    TrainConfig,
    DEFAULT,
    also={DRY_RUN: "describe the run and what it lacks, like training.dry_run"},
)

if __name__ == "__main__":
    COMMAND.run()
