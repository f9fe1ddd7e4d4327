"""Trains the weaving controller, or the backbone without it, on prepared, precomputed clips.

    python -m training.train                                    # tiny, one process, on a CPU
    python -m training.train data.train=outputs/clips steps=200
    python -m training.train config=configs/train/cogvideox_5b.yaml --dry-run
    PROCESSES=8 bash scripts/train_with_latent.sh config=configs/train/cogvideox_5b.yaml

Writes to `output`: checkpoints/, log.jsonl, loss.png, loss_by_timestep.png, validation/,
config.yaml, origin.json and clips.json. Run again, it resumes from the newest complete checkpoint,
and reports which clips were removed or added since.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch.distributed.elastic.multiprocessing.errors import record

from anchorweave.command import Command
from anchorweave.config import load_config
from anchorweave.datasets.latent_clips import LatentClips
from anchorweave.datasets.mixture import open_clips
from anchorweave.datasets.released_layout import ReleasedClips
from training.dry_run import DryRunConfig, dry_run
from training.engine.assembly import prepare_run
from training.engine.loop import train
from training.engine.signals import stop_on_signals
from training.engine.strategy import check_launch, ranks_together
from training.engine.validation import Validation
from training.estimates.missing import missing_clips
from training.options.training import TrainConfig
from training.preparing.one_run import one_run_in

DEFAULT = "configs/train/tiny.yaml"
DRY_RUN = "--dry-run"


@record
def main(words: Sequence[str]) -> None:
    """Trains, with `a.b=c` overrides; `--dry-run` reports what it would take."""
    if DRY_RUN in words:
        words = [word for word in words if word != DRY_RUN]
        return dry_run(load_config(DryRunConfig, words, DEFAULT))
    config = load_config(TrainConfig, words, DEFAULT)
    check_launch(config)
    validation_clips = _validation_clips(config)
    with (
        stop_on_signals() as stop,
        ranks_together(config) as accelerator,
        one_run_in(config.output),
    ):
        run = prepare_run(config, accelerator)
        validation = None
        if validation_clips is not None:
            validation = Validation(config, validation_clips, run.networks.process)
        train(run, validation, stop)


def _validation_clips(config: TrainConfig) -> LatentClips | ReleasedClips | None:
    """The clips to validate on, before anything is loaded; None = no validation.

    Raises:
        ValueError: no such data set, or files that it lacks.
    """
    data = config.data
    if data.validation is None:
        return None
    if missing := missing_clips(data.validation, config):
        raise ValueError(
            f"data.validation={data.validation} is not complete: {'; '.join(missing)} "
            "(data.validation=null trains without validation; --dry-run lists all that a run lacks)"
        )
    return open_clips(data.validation, config.memory, data.visible_first_frame)


COMMAND = Command(
    main,
    TrainConfig,
    DEFAULT,
    also={
        DRY_RUN: "describe the run and what it lacks, like training.dry_run, whose own options "
        "(visible, gpus, report ...) may then be given as well"
    },
)

if __name__ == "__main__":
    COMMAND.run()
