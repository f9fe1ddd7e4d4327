"""Pipelines: the registry, and how a model folder finds the one that opens it."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from torch import nn

from anchorweave.models.backbones import family_in, family_of
from anchorweave.models.loading import ModelParts
from anchorweave.pipelines.cogvideox import AnchorWeavePipeline
from anchorweave.pipelines.wan import AnchorWeaveWanPipeline
from anchorweave.pipelines.weaving import WeavingMixin

__all__ = [
    "PIPELINES",
    "AnchorWeavePipeline",
    "AnchorWeaveWanPipeline",
    "WeavingMixin",
    "pipeline_class",
    "sampler",
]

# By family, as in `anchorweave/models/backbones`.
PIPELINES: dict[str, type[WeavingMixin]] = {
    "cogvideox": AnchorWeavePipeline,
    "wan": AnchorWeaveWanPipeline,
}


def pipeline_class(folder: str | Path) -> tuple[type[WeavingMixin], bool]:
    """The pipeline for a model folder, and whether the folder is one of ours.

    One of ours has a controller; an official one gets it by `from_backbone`.

    Raises:
        FileNotFoundError: no model there.
        ValueError: a backbone of no known family.
    """
    file = Path(folder) / "model_index.json"
    if not file.is_file():
        raise FileNotFoundError(f"no model at {folder} (no {file.name} in it)")
    index = json.loads(file.read_text())
    for kind in PIPELINES.values():
        if index.get("_class_name") == kind.__name__:
            return kind, True
    return PIPELINES[family_in(index, folder).name], False


def sampler(parts: ModelParts, backbone: nn.Module, dtype: torch.dtype) -> DiffusionPipeline:
    """Diffusers' own pipeline around `backbone`, without text parts: prompts come encoded."""
    kind = PIPELINES[family_of(backbone).name]
    return kind.bare(parts.vae(dtype), backbone, parts.scheduler())
