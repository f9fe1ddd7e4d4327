"""Finds the results of a finished training run: the weights of its newest checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

from anchorweave.config import load_config
from training.engine.checkpoints import CONFIG, PROGRESS, damage
from training.engine.run import AVERAGE_SUFFIX
from training.options.training import TrainConfig


def newest_weights(run: str | Path, part: str, unfinished: bool = False) -> Path:
    """The folder of one trained network in the newest complete checkpoint of a run.

    Args:
        run: its output folder.
        part: `transformer` or `controller`; the EMA weights, if any.
        unfinished: whether to accept a run that has not finished.

    Raises:
        FileNotFoundError: no complete checkpoint, or one without that network.
        ValueError: a run that is not finished.
    """
    folders = sorted(Path(run, "checkpoints").glob("step-*"), reverse=True)
    newest = next((folder for folder in folders if damage(folder) is None), None)
    if newest is None:
        raise FileNotFoundError(f"{run}: contains no complete checkpoint; train first")
    done = json.loads((newest / PROGRESS).read_text())["step"]
    steps = load_config(TrainConfig, (), str(newest / CONFIG)).steps
    if done < steps and not unfinished:
        raise ValueError(
            f"{run} is not finished: its newest complete checkpoint has {done} of {steps} steps; "
            "let it finish, or accept it with unfinished=true"
        )
    for folder in (newest / f"{part}{AVERAGE_SUFFIX}", newest / part):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"{newest}: contains no {part}; that run did not train it")
