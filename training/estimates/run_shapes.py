"""Shapes of a run's clips and backbone: read from disk, or assumed if missing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anchorweave.memory import MEMORIES, MemoryConfig
from anchorweave.models.backbones import Family, family_named, family_of
from anchorweave.models.estimates.published import FIRST, own_settings, published_family
from anchorweave.models.small.tiny_models import TINY, video_of
from anchorweave.retrieval import RetrievalConfig
from training.estimates.missing import first_clip
from training.options.networks import NetworkConfig
from training.options.training import TrainConfig


@dataclass(frozen=True)
class ClipShape:
    """The clips of a run.

    Args:
        latent_size: (t, h, w).
        anchors: N.
        text_tokens: S.
        count: samples per epoch; None = unknown.
        source: where this was read.
        references: R; None = unknown.
        preceding: latent frames p before the target.
    """

    latent_size: tuple[int, int, int]
    anchors: int
    text_tokens: int
    count: int | None
    source: str
    references: int | None = None
    preceding: int = 0


# The paper's: 49 frames of 480x720, K = 4.
PAPER_CLIPS = ClipShape((13, 60, 90), 4, 226, None, "the paper's (no clip on disk)")
# As made by configs/data/prepare_wan_480x832.yaml.
WAN_CLIPS = ClipShape((21, 30, 52), 4, 512, None, "81 frames of 480x832 (no clip on disk)")
TINY_CLIPS = ClipShape((7, 8, 12), 4, 32, None, "those of configs/tiny.yaml (no clip on disk)")


def backbone_config(
    network: NetworkConfig, clips: ClipShape
) -> tuple[Family, Mapping[str, Any], str]:
    """Family and configuration of a run's backbone, and where it was read."""
    if network.path in TINY:
        frames, size = video_of(network.path, clips.latent_size)
        tiny = TINY[network.path].components(frames=frames, size=size)["transformer"]
        return family_of(tiny), own_settings(tiny.config), network.path
    path = Path(network.path) / "transformer" / "config.json"
    if path.is_file():
        settings = json.loads(path.read_text())
        family = family_named(settings["_class_name"]) if "_class_name" in settings else FIRST
        return family, own_settings(settings), str(path)
    family = published_family(network.path)
    title, settings = family.published
    return family, settings, f"{title} as published ({path} is not there)"


def clip_shape(config: TrainConfig) -> ClipShape:
    """The training clips of a run: its first readable clip, or the paper's if there is none."""
    readable = first_clip(config)
    if readable is None:
        shape = PAPER_CLIPS if published_family(config.model.path) is FIRST else WAN_CLIPS
        if config.model.path in TINY:
            shape = TINY_CLIPS
        return replace(shape, anchors=given_at_most(config)[0])
    clip, count = readable
    t, _, h, w = clip.latents.shape
    return ClipShape(
        (t, h, w),
        len(clip.anchor_latents),
        len(clip.prompt_features),
        count,
        clip.name,
        len(clip.reference_latents),
        0 if clip.preceding is None else clip.preceding.latents.shape[1],
    )


def given_at_most(config: TrainConfig) -> tuple[int, int]:
    """Maximum number of anchors and references per sample, given the memory system."""
    system = MEMORIES[config.data.memory]
    return system.gives_at_most(MemoryConfig(kind=config.data.memory), RetrievalConfig())
