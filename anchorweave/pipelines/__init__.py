"""Pipelines by model family, and a function that opens a model folder with the right one."""

from __future__ import annotations

import json
from pathlib import Path
from pkgutil import resolve_name

import torch
from diffusers import DiffusionPipeline
from torch import nn

from anchorweave.models.backbones import families, family_in, family_of
from anchorweave.models.families import FAMILIES
from anchorweave.models.loading import ModelParts
from anchorweave.pipelines.cogvideox import AnchorWeavePipeline
from anchorweave.pipelines.wan import AnchorWeaveWanPipeline
from anchorweave.pipelines.weaving import WeavingMixin

__all__ = [
    "AnchorWeavePipeline",
    "AnchorWeaveWanPipeline",
    "WeavingMixin",
    "pipeline_class",
    "pipeline_of",
    "sampler",
]


def pipeline_of(family: str) -> type[WeavingMixin]:
    """The pipeline of a family, by its name in `FAMILIES`."""
    return resolve_name(FAMILIES[family].pipeline)


def pipeline_class(folder: str | Path) -> tuple[type[WeavingMixin], bool]:
    """The pipeline of a model folder, and whether the folder is an AnchorWeave one.

    AnchorWeave folders contain a controller; for official ones use `from_backbone`.

    Raises:
        FileNotFoundError: no model there.
        ValueError: a backbone of an unknown family.
    """
    file = Path(folder) / "model_index.json"
    if not file.is_file():
        raise FileNotFoundError(f"no model at {folder} (no {file.name} in it)")
    index = json.loads(file.read_text())
    for name, family in families().items():
        if index.get("_class_name") == family.pipeline:
            return pipeline_of(name), True
    return pipeline_of(family_in(index, folder).name), False


def sampler(parts: ModelParts, backbone: nn.Module, dtype: torch.dtype) -> DiffusionPipeline:
    """Diffusers' own pipeline around `backbone`, without text encoders, for encoded prompts."""
    kind = pipeline_of(family_of(backbone).name)
    return kind.bare(parts.vae(dtype), backbone, parts.scheduler())
