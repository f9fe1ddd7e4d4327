"""The networks of a sampling run on the meta device: shapes and no numbers."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from anchorweave.models.backbones import Family, family_named, family_of
from anchorweave.models.controller import WeavingController
from anchorweave.models.estimates.published import PARTS, own_settings, published_family
from anchorweave.models.references.reference_networks import REFERENCE_NETWORKS
from anchorweave.models.small.tiny_models import TINY
from anchorweave.run_config import ModelConfig, RunConfig


@dataclass(frozen=True)
class Networks:
    """The networks of a sampling run.

    Args:
        family: of the backbone.
        parts: `text_encoder`, `vae`, `transformer`, `controller`, and `references` if there are.
        dtype: that they compute in.
        source: where their sizes were read.
    """

    family: Family
    parts: Mapping[str, nn.Module]
    dtype: torch.dtype
    source: str

    def stored_in(self, storage: str) -> Networks:
        """The same with the backbone's weights stored as `model.storage` says.

        Args:
            storage: `dtype` or `float8`.
        """
        if storage == "dtype":
            return self
        backbone = copy.deepcopy(self.parts["transformer"])
        backbone.enable_layerwise_casting(torch.float8_e4m3fn, compute_dtype=self.dtype)
        return replace(self, parts={**self.parts, "transformer": backbone})


def tensors_of(module: nn.Module) -> list[Tensor]:
    """Its weights and buffers."""
    return [*module.parameters(), *module.buffers()]


def bytes_of(*modules: nn.Module) -> int:
    """Bytes of their weights and buffers."""
    return sum(one.numel() * one.element_size() for m in modules for one in tensors_of(m))


def networks_of(config: RunConfig) -> Networks:
    """The networks that `config.model` describes, as far as their configurations are on disk.

    What is not there is as published; a controller that is not there, or is a released file, is
    a new one's.

    Raises:
        ValueError: a model that cannot be woven into.
    """
    model, dtype = config.model, getattr(torch, config.model.dtype)
    if model.path in TINY:
        made = TINY[model.path].components(frames=config.frames, size=config.size)
        parts = {name: one for name, one in made.items() if isinstance(one, nn.Module)}
        family, source = family_of(parts["transformer"]), model.path
        parts = {name: one.to("meta") for name, one in parts.items()}
    else:
        family, parts, source = _described(Path(model.path))
    parts["controller"] = _controller(model, parts)
    if (references := _references(model)) is not None:
        parts["references"] = references
    for name, part in parts.items():
        # Of what transformers keeps in float32, only float16 is too narrow for.
        keeps = name != "text_encoder" or dtype == torch.float16
        _set_dtype(part.eval().requires_grad_(False), dtype, keeps)
    return Networks(family, parts, dtype, source)


def _described(folder: Path) -> tuple[Family, dict[str, nn.Module], str]:
    family, source = published_family(str(folder)), str(folder)
    kind = _settings(folder / "transformer").get("_class_name")
    if kind is not None:
        family = family_named(kind)
    title, backbone = family.published
    parts = {}
    for name in ("text_encoder", "vae", "transformer"):
        settings = _settings(folder / name)
        if not settings:
            settings = backbone if name == "transformer" else PARTS[family.name][name]
            source = f"{title} as published ({folder} is not there, or not whole)"
        cls = family.parts[name]
        with torch.device("meta"):
            if name == "text_encoder":
                parts[name] = cls(cls.config_class(**settings))
            else:
                parts[name] = cls.from_config(own_settings(settings))
    return family, parts, source


def _controller(model: ModelConfig, parts: Mapping[str, nn.Module]) -> nn.Module:
    saved = _settings(Path(model.controller or Path(model.path) / "controller"))
    with torch.device("meta"):
        if saved:
            return WeavingController(**own_settings(saved))
        return parts.get("controller") or WeavingController.from_backbone(parts["transformer"])


def _references(model: ModelConfig) -> nn.Module | None:
    saved = _settings(Path(model.references or Path(model.path) / "references"))
    if not saved:
        return None
    kinds = {kind.__name__: kind for kind in REFERENCE_NETWORKS.values()}
    with torch.device("meta"):
        return kinds[saved["_class_name"]](**own_settings(saved))


def _settings(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    return json.loads(file.read_text()) if file.is_file() else {}


def _set_dtype(part: nn.Module, dtype: torch.dtype, keeps: bool) -> None:
    """As loading sets it; whether what a network keeps in float32 stays so, is told."""
    kept = (getattr(part, "_keep_in_fp32_modules", None) or ()) if keeps else ()
    for name, tensor in [*part.named_parameters(), *part.named_buffers()]:
        if tensor.is_floating_point():
            full = any(word in name.split(".") for word in kept)
            tensor.data = tensor.data.to(torch.float32 if full else dtype)
