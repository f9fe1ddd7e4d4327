"""Plots the loss of a run: by step, and by timestep.

python -m training.plots outputs/train        # draws both from its log.jsonl
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from anchorweave.command import Command
from anchorweave.config import load_config
from training.engine.checkpoints import STEP
from training.engine.plots import write_plots
from training.engine.tracking import LOG, log_problems


@dataclass(frozen=True)
class PlotsConfig:
    """Which run to plot.

    Args:
        output: the `output` of a training run; the plots are written to it as well.
    """

    output: str = "outputs/train"


def main(words: Sequence[str]) -> None:
    """Draws the plots, with `a.b=c` overrides.

    Raises:
        FileNotFoundError: the folder contains no log.
    """
    config = load_config(PlotsConfig, words)
    if not Path(config.output, LOG).is_file():
        raise FileNotFoundError(
            f"{config.output}: no {LOG} in it; name the `output` of a training run"
        )
    output = Path(config.output)
    saved = (int(folder.name.rpartition("-")[2]) for folder in output.glob(f"checkpoints/{STEP}"))
    for problem in log_problems(output / LOG, max(saved, default=0)):
        print(problem, flush=True)
    write_plots(output)
    print(f"see {config.output}/loss.png, {config.output}/loss_by_timestep.png")


COMMAND = Command(main, PlotsConfig, first="output")

if __name__ == "__main__":
    COMMAND.run()
