"""Encodes one prepared clip, in smaller tiles if memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from anchorweave.anchors import Anchors
from anchorweave.datasets.encoded_clip import (
    IMAGE,
    TARGET,
    anchors_key,
    coverage_key,
    preceding_keys,
    references_key,
    visible_key,
)
from anchorweave.datasets.layout import BadClip
from anchorweave.datasets.prepared_clip_reading import (
    read_anchors,
    read_cameras,
    read_preceding,
    read_references,
    read_target,
)
from anchorweave.holes import fill_holes
from anchorweave.models.backbones import codec_of
from anchorweave.models.weaving.visible_tokens import coverage, seen_by

# Phrases in a RuntimeError by which torch on a CPU reports that memory ran out.
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


class VideoEncoder:
    """Encodes prepared clips with the VAE.

    Args:
        vae: on its compute device.
        patch_size: the backbone's patch size, in latent pixels.
        tile: initial side of the tiles; None = no tiling.
        one_by_one: whether the VAE encodes one video at a time, which saves memory; together, the
            videos of a clip are twice as fast if they are small.
        storage: dtype to store.
        say: reports when smaller tiles are used.
        holes: how holes of anchors are filled before encoding, see `fill_holes`.
    """

    def __init__(
        self,
        vae,
        patch_size: int,
        tile: int | None,
        one_by_one: bool,
        storage: torch.dtype,
        say: Callable[[str], None],
        holes: str = "black",
    ):
        if one_by_one:
            vae.enable_slicing()
        self._codec, self._patch_size, self._storage = codec_of(vae), patch_size, storage
        self._tile, self._say, self._holes = tile, say, holes

    def __call__(self, clip: Path) -> tuple[dict[str, Tensor], int | None]:
        """Latents of a clip's target, first frame, anchors, references and preceding frames.

        Every clip starts with the same tile size, so that its result does not depend on the clips
        before it.

        Returns:
            Tensors by the names of `latents.safetensors`, and the tile they were encoded with.

        Raises:
            BadClip: unreadable pixels, or a clip that does not fit in memory even with the
                smallest tiles.
        """
        height, width = read_cameras(clip).cameras.size
        tiles = list(smaller_tiles(self._tile, max(height, width), self._codec.tile_step))
        for tile, smaller in zip(tiles, [*tiles[1:], None], strict=True):
            self._codec.tile(tile)
            try:
                return self._encoded(clip), tile
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                reason = str(error).splitlines()[0]
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            if smaller is not None:
                self._say(
                    f"{clip}: out of memory ({reason}); retrying with tiles of {smaller} pixels. "
                    f"Start with them by setting vae_tile={smaller}."
                )
        raise BadClip(
            clip, f"does not fit in memory, even with tiles of {tiles[-1]} pixels ({reason})"
        )

    @torch.no_grad()
    def _encoded(self, clip: Path) -> dict[str, Tensor]:
        target = read_target(clip)
        try:
            self._codec.shape(len(target), tuple(target.shape[2:]), self._patch_size)
        except ValueError as error:
            raise BadClip(clip, str(error)) from error
        first = self._codec.encode_first_frame(target[None, 0], frames=1)
        tensors = {
            TARGET: self._stored(self._codec.encode(target[None])[0]),
            IMAGE: self._stored(first[0]),
        }
        for memory in read_cameras(clip).target2source:
            keys = [key(memory) for key in (anchors_key, visible_key, coverage_key)]
            anchor_tensors = self._of_anchors(read_anchors(clip, memory), tensors[TARGET])
            tensors |= dict(zip(keys, anchor_tensors, strict=True))
            references = read_references(clip, memory)
            tensors[references_key(memory)] = self._stored(
                self._references(references, tensors[TARGET])
            )
            if (preceding := read_preceding(clip, memory)) is not None:
                frames = self._stored(self._codec.encode(preceding.frames[None])[0])
                parts = (frames, *self._of_anchors(preceding.anchors, frames))
                tensors |= dict(zip(preceding_keys(memory), parts, strict=True))
        return tensors

    def _of_anchors(self, anchors: Anchors, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Latents of anchors as long as `target`; their visible tokens and coverage."""
        share = coverage(
            anchors.visible,
            spatial=self._codec.in_space * self._patch_size,
            temporal=self._codec.in_time,
        )
        return self._stored(self._anchors(anchors, target)), seen_by(share), share.half()

    def _references(self, frames: Tensor, target: Tensor) -> Tensor:
        # Encoded one by one (Context-as-Memory): as one video their differences would be motion.
        if not len(frames):
            return target.new_zeros(0, *target.shape[1:])
        return self._codec.encode(frames[:, None])[:, 0]

    def _anchors(self, anchors: Anchors, target: Tensor) -> Tensor:
        if not len(anchors):
            return target.new_zeros(0, *target.shape)
        # Empty slots are all the same video, so only one of them is encoded.
        used = anchors.visible.flatten(1).any(dim=1)
        filled = fill_holes(anchors.video[used], anchors.visible[used], self._holes)
        videos = torch.cat([filled, anchors.video[~used][:1]])
        slots = torch.where(used, used.cumsum(0) - 1, used.sum())
        return self._codec.encode(videos).cpu()[slots]

    def _stored(self, latents: Tensor) -> Tensor:
        return latents.to("cpu", self._storage)


def smaller_tiles(tile: int | None, side: int, step: int) -> Iterator[int | None]:
    """The initial tile size, then halved repeatedly down to the smallest.

    Args:
        tile: None = no tiling.
        side: the longer side of the videos.
        step: tile sizes are multiples of this.
    """
    yield tile
    tile = side if tile is None else tile
    while tile > step:
        tile = max(tile // 2 // step * step, step)
        yield tile


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch ran out of memory, on a GPU or a CPU."""
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or any(word in text for word in OUT_OF_MEMORY)
