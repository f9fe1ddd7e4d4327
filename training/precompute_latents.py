"""Encodes prepared clips to VAE latents and text features, which training reads.

    python -m training.precompute_latents                      # the prepared example, on a CPU
    PROCESSES=8 bash scripts/precompute.sh config=configs/data/precompute_5b.yaml data=outputs/dl3dv

Adds latents.safetensors and caption.safetensors to every clip, and the features of the empty prompt
to the data set. A second run makes only what is missing; a file made from other pixels, from
another caption or with other weights is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from anchorweave.command import Command
from anchorweave.config import load_config
from anchorweave.datasets.encoded_clip import FEATURES, MADE_BEFORE, read_made, write_tensors
from anchorweave.datasets.fingerprint import check_made, digest
from anchorweave.datasets.layout import (
    CAPTION_FEATURES,
    EMPTY_CAPTION,
    LATENTS,
    BadClip,
    prepared_clips,
    remove_unfinished,
)
from anchorweave.datasets.prepared_clip_reading import (
    check_sums,
    read_cameras,
    read_caption,
    read_record,
)
from anchorweave.models.codec.base import TextEncoder
from anchorweave.models.encoders import Encoders
from anchorweave.models.precision import computing_dtype, slowness
from training.preparing.encoding import VideoEncoder
from training.preparing.one_run import one_run_in
from training.preparing.sharding import Shard, Tally

DEFAULT = "configs/data/precompute_tiny.yaml"
# Incremented whenever the same clip and weights give different tensors than before.
CODE_VERSION = 2


@dataclass(frozen=True)
class EncoderConfig:
    """The encoders.

    Args:
        path: a folder in diffusers' layout, or `tiny`, `tiny_wan`: small networks with
            random weights.
        dtype: compute precision; `auto` = bfloat16, or float32 on a CPU without bfloat16
            instructions.
        device: `auto` (a GPU if there is one) or `cpu`.
    """

    path: str = "tiny"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "float32"
    device: Literal["auto", "cpu"] = "auto"

    def computes_in(self, device: torch.device) -> torch.dtype:
        """The compute precision on a device."""
        if self.dtype == "auto":
            return computing_dtype("auto", device)
        return getattr(torch, self.dtype)


@dataclass(frozen=True)
class PrecomputeConfig:
    """Options of precomputing.

    Args:
        data: a prepared data set.
        storage: storage precision; float16 has three more bits of precision than bfloat16 at the
            same size, and values beyond its range are refused.
        holes: how holes of anchors are filled before encoding: `black` (released data), `cracks` or
            `filled`, see `anchorweave/holes`. A controller is trained on one of them.
        one_by_one: whether the VAE encodes one video at a time; null = on a GPU, whose memory large
            videos fill. Small ones are faster together.
        vae_tile: side of the tiles, in pixels, for encoding videos; null = no tiling, which needs
            the most memory. If memory runs out, the next smaller size is tried.
        model: the encoders.
    """

    data: str = "outputs/prepared"
    storage: Literal["float32", "bfloat16", "float16"] = "float16"
    holes: Literal["black", "cracks", "filled"] = "black"
    one_by_one: bool | None = None
    vae_tile: int | None = None
    model: EncoderConfig = field(default_factory=EncoderConfig)


def main(words: Sequence[str]) -> None:
    """Encodes this process's share of the clips, with `a.b=c` overrides."""
    config = load_config(PrecomputeConfig, words, DEFAULT)
    clips = prepared_clips(config.data)
    shard = Shard(cpu=config.model.device == "cpu")
    shard.console.print(
        f"encoding {len(clips)} clip(s) of {config.data} with {config.model.path}", markup=False
    )
    if about := slowness(config.model.computes_in(shard.device), shard.device):
        shard.say(f"model.dtype={config.model.dtype}: {about}")
    with one_run_in(config.data):
        _encode(config, clips, shard)


def _encode(config: PrecomputeConfig, clips: Sequence[Path], shard: Shard) -> None:
    encoders = Encoders(config.model.path, *_first_shape(clips))
    texts = TextPass(config, encoders, shard)
    texts.empty_prompt()
    captions = shard.run(clips, texts.encode, "captions")
    # Frees memory for the VAE.
    del texts
    latents = shard.run(clips, VideoPass(config, encoders, shard).encode, "videos")
    shard.finish(captions + latents, f"captions and videos of {len(clips)} clips")


class TextPass:
    """Encodes captions to text features; the text encoder is loaded when first needed.

    Args:
        config: options.
        encoders: the networks.
        shard: this process's share of the work.
    """

    def __init__(self, config: PrecomputeConfig, encoders: Encoders, shard: Shard):
        self._config, self._encoders, self._shard = config, encoders, shard
        self._text: TextEncoder | None = None
        self._made = _made(config, shard.device) | {
            "text_encoder": encoders.text_weights,
            "tokens": encoders.text_tokens,
        }

    def empty_prompt(self) -> None:
        """Encodes the empty prompt for the whole data set, in the first process."""
        path = Path(self._config.data) / EMPTY_CAPTION
        if self._shard.is_main:
            _made_once(path, {**self._made, "caption": ""}, lambda: self._features(""))

    def encode(self, clip: Path) -> Tally:
        """Encodes the caption of one clip, unless that was already done."""
        try:
            caption = read_caption(clip)
            made = {**self._made, "caption": caption}
            return _made_once(clip / CAPTION_FEATURES, made, lambda: self._features(caption))
        except BadClip as bad:
            return Tally(failed={f"caption of {clip.name}": bad.reason})

    @torch.no_grad()
    def _features(self, prompt: str) -> tuple[dict[str, Tensor], dict]:
        if self._text is None:
            dtype = self._config.model.computes_in(self._shard.device)
            self._text = self._encoders.text(dtype)
            self._text.encoder.to(self._shard.device)
        features = self._text.encode([prompt], self._encoders.text_tokens)[0]
        features = features.to("cpu", getattr(torch, self._config.storage))
        return {FEATURES: features}, {"text_content": self._encoders.text_content}


class VideoPass:
    """Encodes videos to latents; the VAE is loaded when first needed.

    Args:
        config: options.
        encoders: the networks.
        shard: this process's share of the work.
    """

    def __init__(self, config: PrecomputeConfig, encoders: Encoders, shard: Shard):
        self._config, self._encoders, self._shard = config, encoders, shard
        self._encoder: VideoEncoder | None = None
        self._made = _made(config, shard.device) | {
            "vae": encoders.vae_weights,
            "holes": config.holes,
        }

    def encode(self, clip: Path) -> Tally:
        """Encodes the videos of one clip, unless that was already done."""
        try:
            made = {**self._made, "prepared": digest(read_record(clip)["made"])}
            return _made_once(clip / LATENTS, made, lambda: self._latents(clip))
        except BadClip as bad:
            return Tally(failed={f"videos of {clip.name}": bad.reason})

    def _latents(self, clip: Path) -> tuple[dict[str, Tensor], dict]:
        if self._encoder is None:
            config, device = self._config, self._shard.device
            on_gpu = device.type != "cpu"
            self._encoder = VideoEncoder(
                self._encoders.vae(config.model.computes_in(device)).to(device),
                self._encoders.patch_size,
                config.vae_tile,
                on_gpu if config.one_by_one is None else config.one_by_one,
                getattr(torch, config.storage),
                self._shard.say,
                config.holes,
            )
        check_sums(clip)
        tensors, tile = self._encoder(clip)
        return tensors, {"tile": tile, "vae_content": self._encoders.vae_content}


def _made(config: PrecomputeConfig, device: torch.device) -> dict[str, Any]:
    # A CPU without bfloat16 gives other latents than a GPU, even if both use `auto`.
    dtype = str(config.model.computes_in(device)).removeprefix("torch.")
    return {"code": CODE_VERSION, "storage": config.storage, "dtype": dtype}


def _made_once(
    path: Path, made: dict[str, Any], make: Callable[[], tuple[dict[str, Tensor], dict]]
) -> Tally:
    """Writes a file of tensors unless it exists.

    Args:
        path: the file.
        made: the settings it depends on.
        make: returns its tensors, and notes on their computation that do not matter for their use.

    Raises:
        FingerprintError: it exists, and was made with other settings.
    """
    if path.exists():
        try:
            stored = read_made(path)
        except BadClip as bad:
            raise BadClip(bad.path, f"{bad.reason}; remove the file to have it made again") from bad
        compared = {key: value for key, value in (MADE_BEFORE | stored).items() if key in made}
        check_made(path, compared, made, f"to make all again, remove every {path.name}")
        return Tally(there=1)
    remove_unfinished(path)
    tensors, notes = make()
    try:
        write_tensors(path, tensors, {**made, **notes})
    except ValueError as error:
        raise BadClip(path.parent, str(error)) from error
    return Tally(made=1)


def _first_shape(clips: Sequence[Path]) -> tuple[int, tuple[int, int]]:
    """Number of frames and size of the first clip with readable cameras."""
    for clip in clips:
        try:
            cameras = read_cameras(clip).cameras
        except BadClip:
            continue  # reported when the clip itself is encoded
        return len(cameras), cameras.size
    raise BadClip(clips[0], "and all others have unreadable cameras; run training.doctor")


COMMAND = Command(main, PrecomputeConfig, DEFAULT)

if __name__ == "__main__":
    COMMAND.run()
