"""The encoders of a model folder for videos and captions, without its backbone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from anchorweave.models.backbones import family_named, family_of
from anchorweave.models.codec.base import TextEncoder
from anchorweave.models.digest import content_digest, module_digest, weights_digest
from anchorweave.models.loading import ModelParts
from anchorweave.models.model_folder import check_parts
from anchorweave.models.small.tiny_models import TINY
from anchorweave.models.whole import load_whole

TEXT_PARTS = ("tokenizer", "text_encoder")


class Encoders:
    """The VAE and the text encoder of a model, loaded on first use.

    Args:
        path: a folder in diffusers' layout, or one of `TINY`: small networks with random weights.
        frames: T of the videos; used by the latter.
        size: likewise their (height, width).
        whole: whether to check immediately, rather than on first use, that no component is missing.

    Attributes:
        text_tokens: number of prompt tokens read by the backbone.
        patch_size: latent pixels along one side of its tokens.

    Raises:
        FileNotFoundError: no model at `path`, or missing components; the message names them.
    """

    def __init__(self, path: str | Path, frames: int, size: tuple[int, int], whole: bool = True):
        self.path = path
        self._parts = ModelParts(path, frames, size)
        if path in TINY:
            self._tiny = self._parts.tiny
            self._family = family_of(self._tiny["transformer"])
            settings = self._tiny["transformer"].config
        else:
            if whole:
                check_parts(path, only=(*TEXT_PARTS, "vae"))
            settings = json.loads((Path(path) / "transformer" / "config.json").read_text())
            self._family = family_named(str(settings.get("_class_name")))
        sizes = self._family.sizes_of(settings)
        self.text_tokens: int = sizes.text_tokens
        self.patch_size: int = sizes.patch_size

    @cached_property
    def vae_weights(self) -> str:
        """Digest of the VAE's weights as files."""
        return self._vae(weights_digest)

    @cached_property
    def vae_content(self) -> str:
        """The same, independent of where and how the VAE was saved."""
        return self._vae(content_digest)

    @cached_property
    def text_weights(self) -> str:
        """Digest of tokenizer and text encoder as files."""
        return self._text(weights_digest)

    @cached_property
    def text_content(self) -> str:
        """The same, independent of where and how they were saved."""
        return self._text(content_digest)

    def _vae(self, of_folder: Callable[[Path], str]) -> str:
        tiny = self.path in TINY
        return module_digest(self._tiny["vae"]) if tiny else of_folder(Path(self.path) / "vae")

    def _text(self, of_folder: Callable[[Path], str]) -> str:
        if self.path in TINY:
            words = json.dumps(self._tiny["tokenizer"].get_vocab(), sort_keys=True)
            parts = [words, module_digest(self._tiny["text_encoder"])]
        else:
            parts = [of_folder(Path(self.path) / part) for part in TEXT_PARTS]
        return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]

    def vae(self, dtype: torch.dtype) -> nn.Module:
        """The autoencoder."""
        return self._parts.vae(dtype).eval()

    def text(self, dtype: torch.dtype) -> TextEncoder:
        """Combined digest of tokenizer and text encoder."""
        if self.path in TINY:
            tokenizer, encoder = self._tiny["tokenizer"], self._tiny["text_encoder"].to(dtype)
        else:
            kinds = self._family.parts
            tokenizer = kinds["tokenizer"].from_pretrained(self.path, subfolder="tokenizer")
            kind = kinds["text_encoder"]
            encoder = load_whole(kind, self.path, "text_encoder", dtype=dtype).eval()
        return self._family.text(tokenizer, encoder)
