"""A CogVideoX image-to-video model small enough for one CPU core, with random weights.

Every part is of the class that the 5B uses and of its configuration but for sizes, and
`write_tiny` lays it out as diffusers does, so that the tiny model comes through the 5B's loading
path.
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
# Pixel frames in a latent frame behind the first, and pixels along a latent one.
IN_TIME, IN_SPACE = 4, 8
# Whole words of the prompts that indoor recordings get; any other word is spelled.
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
    """The arguments of `AnchorWeavePipeline`, with random weights that depend on `seed` alone.

    Args:
        seed: of the weights; the global random state is left as it was.
        frames: T that the positions are laid out for.
        size: (height, width) of the video; like the 5B, this model takes no other.
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

    Its `weights_note` says that the weights are random.

    Raises:
        FileExistsError: `path` is taken.
    """
    write_model(path, tiny_components(seed, frames, size), UNTRAINED)
    return Path(path)


def tiny_tokenizer(words: Sequence[str] = WORDS) -> T5Tokenizer:
    """T5's tokenizer over a small vocabulary: whole words, and letters for all others.

    Args:
        words: those that are one token each; repetitions count once.
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
