"""Loads single components of a model folder."""

from __future__ import annotations

import json
from pathlib import Path

import diffusers
import torch
from torch import nn

from anchorweave.diffusion.process import NoiseProcess
from anchorweave.models.backbones import Family, codec_of, family_in, family_of
from anchorweave.models.model_folder import check_parts
from anchorweave.models.small.tiny_models import TINY
from anchorweave.models.whole import load_whole


class ModelParts:
    """The components of an image-to-video model, loaded on first use.

    Args:
        path: a folder in diffusers' layout, or one of `TINY`.
        frames: T of the videos; used by the latter.
        size: likewise their (height, width).

    Raises:
        FileNotFoundError: no model at `path`.

    Components raise ValueError if any of their weights are missing.
    """

    def __init__(self, path: str | Path, frames: int, size: tuple[int, int]):
        self.path = path
        if path in TINY:
            self.tiny = TINY[path].components(frames=frames, size=size)
        elif not (Path(path) / "model_index.json").is_file():
            raise FileNotFoundError(
                f"no model at {path} (no model_index.json in it); "
                "pretrained/README.md says which weights to put where"
            )

    def family(self) -> Family:
        """The family of its backbone.

        Raises:
            ValueError: an unknown family.
        """
        if self.path in TINY:
            return family_of(self.tiny["transformer"])
        check_parts(self.path, only=("transformer",))
        return family_in(json.loads((Path(self.path) / "model_index.json").read_text()), self.path)

    def backbone(self, dtype: torch.dtype) -> nn.Module:
        """The transformer.

        Raises:
            ValueError: an unsupported backbone.
        """
        self.family()
        backbone = self._part("transformer", dtype)
        family_of(backbone).sizes(backbone)
        return backbone

    def vae(self, dtype: torch.dtype) -> nn.Module:
        """The autoencoder, with tile sizes that divide evenly if tiling is enabled."""
        vae = self._part("vae", dtype)
        codec_of(vae).lay_out_tiles()
        return vae

    def scheduler(self) -> diffusers.SchedulerMixin:
        """The noise scheduler used for sampling."""
        return self._part("scheduler")

    def process(self) -> NoiseProcess:
        """The noise process that the backbone was trained with, float32.

        Raises:
            ValueError: a scheduler for another process.
        """
        return self.family().process(self.scheduler())

    def _part(self, name: str, dtype: torch.dtype | None = None):
        if self.path in TINY:
            part = self.tiny[name]
            return part if dtype is None or part.dtype == dtype else part.to(dtype)
        check_parts(self.path, only=(name,))
        _, kind = json.loads((Path(self.path) / "model_index.json").read_text())[name]
        if dtype is None:
            return getattr(diffusers, kind).from_pretrained(self.path, subfolder=name)
        return load_whole(getattr(diffusers, kind), self.path, name, dtype=dtype)
