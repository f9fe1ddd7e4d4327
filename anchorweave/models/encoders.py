"""What encodes videos and captions, from a model folder, without its backbone."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from diffusers import AutoencoderKLCogVideoX
from transformers import T5EncoderModel, T5Tokenizer

from anchorweave.models.digest import content_digest, module_digest, weights_digest
from anchorweave.models.loading import TINY, ModelParts

# The smallest tile: neighbours overlap by a quarter, which must stay a whole number of latents.
TILE_STEP = 32
TEXT_PARTS = ("tokenizer", "text_encoder")


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
        vae_content: the same for the VAE wherever it was saved again.
        text_content: likewise for tokenizer and text encoder.

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
            self.vae_content, contents = self.vae_weights, text
        else:
            folder = Path(path)
            settings = json.loads((folder / "transformer" / "config.json").read_text())
            self.vae_weights = weights_digest(folder / "vae")
            text = [weights_digest(folder / part) for part in TEXT_PARTS]
            self.vae_content = content_digest(folder / "vae")
            contents = [content_digest(folder / part) for part in TEXT_PARTS]
        self.text_weights = hashlib.sha256("".join(text).encode()).hexdigest()[:16]
        self.text_content = hashlib.sha256("".join(contents).encode()).hexdigest()[:16]
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
        encoder = T5EncoderModel.from_pretrained(self.path, subfolder="text_encoder", dtype=dtype)
        return tokenizer, encoder.eval()


def set_tile(vae: AutoencoderKLCogVideoX, tile: int | None) -> None:
    """Encode in square tiles of `tile` pixels a side; None = videos whole.

    Tiles overlap by a quarter and are blended, which changes latents slightly and lowers memory
    with the square of the side.

    Raises:
        ValueError: a side that is no multiple of 32.
    """
    if tile is None:
        vae.disable_tiling()
        return
    if tile < TILE_STEP or tile % TILE_STEP:
        raise ValueError(f"a tile is a multiple of {TILE_STEP} pixels a side, met {tile}")
    vae.enable_tiling(tile, tile, 0.25, 0.25)
