"""Trains a small CogVideoX or Wan autoencoder on the frames of recordings.

    python -m training.train_vae                                    # procedural rooms, on a CPU
    python -m training.train_vae source=my_recordings steps=2000 output=outputs/my_vae
    python -m training.engine.processes 16 training.train_vae frames_only=true   # many cores, first

For models smaller than the released ones, whose autoencoders need no training. Writes to `output`:
frames/ (recordings, decoded once), checkpoints/, log.jsonl, vae/ (the EMA weights, in diffusers'
layout, scaled so that latents have unit variance), results.json and config.yaml. Run again, it
resumes from the newest complete checkpoint.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from anchorweave.command import Command
from anchorweave.config import load_config
from anchorweave.models.precision import computing_dtype, slowness
from training.engine.signals import stop_on_signals
from training.preparing.one_run import one_run_in
from training.preparing.sharding import Shard
from training.small_models.frames import cache_frames, read_frames
from training.small_models.vae_options import VAETrainConfig
from training.small_models.vae_run import VAETraining

DEFAULT = "configs/anchorweave_tiny/vae.yaml"


def main(words: list[str]) -> None:
    """Trains, with `a.b=c` overrides."""
    config = load_config(VAETrainConfig, words, DEFAULT)
    output = Path(config.output)
    shard = Shard(cpu=config.frames_only)
    with one_run_in(output):
        _train(config, output, shard)


def _train(config: VAETrainConfig, output: Path, shard: Shard) -> None:
    def cached(what: str, source: Any, most: int | None) -> list[Path]:
        return cache_frames(source, output / "frames" / what, config.size, most, shard)

    trained = cached("train", config.source, config.frames_per_recording)
    validation = cached("validation", config.validation, config.clip)
    if config.frames_only:
        return
    if about := slowness(computing_dtype(config.precision, shard.device), shard.device):
        shard.say(f"precision={config.precision}: {about}")
    arrays, held_out = (_read(paths, config.clip) for paths in (trained, validation))
    with stop_on_signals() as stop:
        VAETraining(config, arrays, held_out).train(stop)


def _read(paths: list[Path], clip: int) -> list[np.ndarray]:
    arrays = {path: read_frames(path) for path in paths}
    for path, array in arrays.items():
        if len(array) < clip:
            raise ValueError(f"{path}: {len(array)} frames are too few for clip={clip}")
    return list(arrays.values())


COMMAND = Command(main, VAETrainConfig, DEFAULT)

if __name__ == "__main__":
    COMMAND.run()
