"""A CogVideoX image-to-video model small enough for one CPU core, with random weights.

Every component has the class and the configuration of the 5B's, except for sizes, and `write_tiny`
uses diffusers' layout, so that the tiny model is loaded through the same code path.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel
from transformers import T5EncoderModel, T5Tokenizer

from anchorweave.models.model_folder import write_model
from anchorweave.models.notes import UNTRAINED
from anchorweave.models.small.backbone import v_schedule
from anchorweave.models.small.text import TextConfig, text_config
from anchorweave.models.weaving.make_controller import ControllerOptions, make_controller

TEXT_CHANNELS = 64
TEXT_TOKENS = 32
LATENT_CHANNELS = 16
# Pixel frames per latent frame after the first, and pixels per latent pixel along each side.
IN_TIME, IN_SPACE = 4, 8
# Whole words common in prompts for indoor recordings; all other words are spelled out.
WORDS = (
    "a an the of in on at to with from into through along over under near by and or is are no "
    "camera video scene view shot slow slowly smooth static moves moving walks walking turns "
    "turning left right up down forward backward around back pan orbit dolly spiral zoom "
    "room rooms kitchen bedroom bathroom living office hallway corridor house home apartment "
    "building indoor outdoor street garden city table desk chair chairs sofa bed shelf shelves "
    "cabinet cupboard window windows door doors wall walls floor ceiling lamp light lights sink "
    "stove oven fridge counter plant plants picture pictures painting carpet rug curtain book "
    "books box boxes screen monitor keyboard fox red green blue white black brown grey yellow "
    "wooden wood stone brick tiled metal glass bright dark warm cold sunny large small big little "
    "empty furnished textured modern old quiet clean"
).split()


def tiny_components(
    seed: int = 0, frames: int = 25, size: tuple[int, int] = (64, 96)
) -> dict[str, object]:
    """The arguments of `AnchorWeavePipeline`, with random weights that depend only on `seed`.

    Args:
        seed: seed of the weights; the global random state is not changed.
        frames: T that the positions are made for.
        size: (height, width) of the video; like the 5B, this model supports no other.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = tiny_tokenizer()
        transformer = _transformer(frames, size)
        parts = {
            "tokenizer": tokenizer,
            "text_encoder": _text_encoder(len(tokenizer)),
            "vae": _vae(size),
            "transformer": transformer,
            "controller": make_controller(
                transformer, options=ControllerOptions(layers=3, heads=2)
            ),
            "scheduler": v_schedule(),
        }
    for part in parts.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
    return parts


def write_tiny(
    path: str | Path, seed: int = 0, frames: int = 25, size: tuple[int, int] = (64, 96)
) -> Path:
    """Writes `tiny_components` as a pipeline folder for `AnchorWeavePipeline.from_pretrained`.

    Its `weights_note` states that the weights are random.

    Raises:
        FileExistsError: `path` exists.
    """
    write_model(path, tiny_components(seed, frames, size), UNTRAINED)
    return Path(path)


def tiny_tokenizer(words: Sequence[str] = WORDS) -> T5Tokenizer:
    """A T5 tokenizer with a small vocabulary: whole words, and letters for all others.

    Args:
        words: words that become single tokens; duplicates are ignored.
    """
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -4.0)]
    pieces += [(f"▁{word}", -6.0) for word in dict.fromkeys(words)]
    pieces += [(chr(code), -8.0) for code in range(33, 127)]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=TEXT_TOKENS)


def _text_encoder(vocabulary: int) -> T5EncoderModel:
    return T5EncoderModel(text_config(TextConfig(channels=TEXT_CHANNELS), vocabulary))


def _vae(size: tuple[int, int]) -> AutoencoderKLCogVideoX:
    return AutoencoderKLCogVideoX(
        block_out_channels=(16, 32, 32, 48),
        latent_channels=LATENT_CHANNELS,
        layers_per_block=1,
        norm_num_groups=8,
        sample_height=size[0],
        sample_width=size[1],
        scaling_factor=0.7,
    )


def _transformer(frames: int, size: tuple[int, int]) -> CogVideoXTransformer3DModel:
    return CogVideoXTransformer3DModel(
        num_attention_heads=4,
        attention_head_dim=64,
        in_channels=2 * LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        time_embed_dim=128,
        text_embed_dim=TEXT_CHANNELS,
        num_layers=8,
        sample_height=size[0] // IN_SPACE,
        sample_width=size[1] // IN_SPACE,
        sample_frames=frames,
        max_text_seq_length=TEXT_TOKENS,
        use_rotary_positional_embeddings=True,
        use_learned_positional_embeddings=True,
    )
