"""What encodes videos and captions, from a model folder, without its backbone."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from diffusers import AutoencoderKLCogVideoX
from transformers import T5EncoderModel, T5Tokenizer

from anchorweave.models.digest import module_digest, weights_digest
from anchorweave.models.loading import TINY, ModelParts
from anchorweave.models.model_folder import check_parts
from anchorweave.models.whole import load_whole


class Encoders:
    """The VAE and the text encoder of a model, loaded when they are asked for.

    Args:
        path: a folder in diffusers' layout, or `tiny`: small networks with random weights.
        frames: T of the videos, which `tiny` is made for.
        size: likewise their (height, width).

    Attributes:
        text_tokens: how many tokens of a prompt the backbone reads.
        patch_size: latent pixels along one side of its tokens.
        vae_weights: short name of the VAE's weights.
        text_weights: likewise of tokenizer and text encoder.

    Raises:
        FileNotFoundError: no model at `path`, or one without weights.
    """

    def __init__(self, path: str | Path, frames: int, size: tuple[int, int]):
        self.path = path
        self._parts = ModelParts(path, frames, size)
        if path == TINY:
            self._tiny = self._parts.tiny
            settings = self._tiny["transformer"].config
            self.vae_weights = module_digest(self._tiny["vae"])
            words = json.dumps(self._tiny["tokenizer"].get_vocab(), sort_keys=True)
            text = [words, module_digest(self._tiny["text_encoder"])]
        else:
            folder = Path(path)
            check_parts(folder, only=("tokenizer", "text_encoder", "vae"))
            settings = json.loads((folder / "transformer" / "config.json").read_text())
            self.vae_weights = weights_digest(folder / "vae")
            text = [weights_digest(folder / part) for part in ("tokenizer", "text_encoder")]
        self.text_weights = hashlib.sha256("".join(text).encode()).hexdigest()[:16]
        self.text_tokens: int = settings["max_text_seq_length"]
        self.patch_size: int = settings["patch_size"]

    def vae(self, dtype: torch.dtype) -> AutoencoderKLCogVideoX:
        """The autoencoder."""
        return self._parts.vae(dtype).eval()

    def text(self, dtype: torch.dtype) -> tuple[T5Tokenizer, T5EncoderModel]:
        """Tokenizer and text encoder."""
        if self.path == TINY:
            return self._tiny["tokenizer"], self._tiny["text_encoder"].to(dtype)
        tokenizer = T5Tokenizer.from_pretrained(self.path, subfolder="tokenizer")
        encoder = load_whole(T5EncoderModel, self.path, "text_encoder", dtype=dtype)
        return tokenizer, encoder.eval()
