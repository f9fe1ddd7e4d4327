"""Files that a training run needs but that do not exist."""

from __future__ import annotations

import json
from pathlib import Path

from anchorweave.datasets.latent_clips import LatentClips
from anchorweave.datasets.layout import (
    CAMERAS,
    CAPTION_FEATURES,
    EMPTY_CAPTION,
    LATENTS,
    BadClip,
)
from anchorweave.datasets.mixture import open_clips, open_mixture
from anchorweave.datasets.training_clip import TrainingClip
from anchorweave.models.small.tiny_models import TINY
from training.options.training import TrainConfig


def missing_files(config: TrainConfig) -> list[str]:
    """One line for everything that is missing; clips are counted, and one is named."""
    network = config.model
    found = [] if network.path in TINY else _missing_model(config)
    for key, what in (("controller", "controller"), ("references", "reference network")):
        path = getattr(network, key)
        if path is not None and not Path(path).exists():
            found.append(f"{path}: no such {what} (model.{key})")
    roots = [*config.data.shares(), *filter(None, [config.data.validation])]
    for root in roots:
        found += missing_clips(root, config)
    return found


def first_clip(config: TrainConfig) -> tuple[TrainingClip, int] | None:
    """The first readable clip, and the length of an epoch; None if there is none."""
    try:
        clips = open_mixture(config.data.shares(), config.memory)
    except ValueError:
        # `missing_files` reports the problem.
        return None
    for index in range(len(clips)):
        try:
            return clips[index], len(clips)
        except BadClip:
            continue
    return None


def _missing_model(config: TrainConfig) -> list[str]:
    root = Path(config.model.path)
    if not root.is_dir():
        return [f"{root}: no such model (model.path); pretrained/README.md says what goes in"]
    found = [
        f"{root / file}: missing"
        for file in ("model_index.json", "scheduler/scheduler_config.json")
        if not (root / file).is_file()
    ]
    # Text features are precomputed; the autoencoder only decodes sampled videos.
    for part in ("transformer", *(("vae",) if config.validation.videos else ())):
        found += _missing_weights(root / part)
    return found


def _missing_weights(folder: Path) -> list[str]:
    if not (folder / "config.json").is_file():
        return [f"{folder / 'config.json'}: missing"]
    indices = sorted(folder.glob("*.safetensors.index.json"))
    if not indices:
        whole = any(folder.glob("*.safetensors"))
        return [] if whole else [f"{folder}: holds no .safetensors weights"]
    shards = set(json.loads(indices[0].read_text())["weight_map"].values())
    return [
        f"{folder / shard}: missing" for shard in sorted(shards) if not (folder / shard).is_file()
    ]


def missing_clips(root: str, config: TrainConfig) -> list[str]:
    """One line for everything that the data set in the folder `root` lacks."""
    try:
        clips = open_clips(root, config.memory)
    except ValueError as error:
        return [str(error)]
    if not isinstance(clips, LatentClips):
        return []
    found = []
    for file in (LATENTS, CAPTION_FEATURES, CAMERAS):
        lacking = [clip for clip in clips.clips if not (clip / file).is_file()]
        if lacking:
            more = f" and {len(lacking) - 1} more clips" if len(lacking) > 1 else ""
            found.append(f"{lacking[0] / file}{more}: missing; run training.precompute_latents")
    if config.draw.caption_dropout and not (Path(root) / EMPTY_CAPTION).is_file():
        found.append(f"{Path(root) / EMPTY_CAPTION}: missing; run training.precompute_latents")
    return found
