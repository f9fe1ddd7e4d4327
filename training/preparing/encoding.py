"""Encodes one prepared clip, in smaller tiles where memory runs out."""

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
from anchorweave.datasets.prepared_clip import (
    read_anchors,
    read_cameras,
    read_preceding,
    read_references,
    read_target,
)
from anchorweave.holes import fill_holes
from anchorweave.models.backbones import codec_of
from anchorweave.models.weaving.visible_tokens import coverage, seen_by

# Where a torch without a GPU says in a RuntimeError that memory ran out.
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


class VideoEncoder:
    """The VAE, for prepared clips.

    Args:
        vae: on the device that it computes on.
        patch_size: of the backbone, in latent pixels.
        tile: side of the tiles to begin with; None = videos whole.
        one_by_one: whether the VAE takes one video at a time, which spares memory; together, the
            videos of a clip are twice as fast where they are small.
        storage: dtype of what is stored.
        say: where giving way is told.
        holes: what it sees where an anchor does not, see `fill_holes`.
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

        Every clip begins with the same tile, so that what is made of one does not depend on the
        clips before it.

        Returns:
            Tensors by the names of `latents.safetensors`, and the tile they were encoded with.

        Raises:
            BadClip: pixels that cannot be read, or a clip that does not fit into memory even in
                the smallest tiles.
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
                said = str(error).splitlines()[0]
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            if smaller is not None:
                self._say(
                    f"{clip}: out of memory ({said}); trying again in tiles of {smaller} pixels. "
                    f"Begin with them by vae_tile={smaller}."
                )
        raise BadClip(
            clip, f"does not fit into memory, even in tiles of {tiles[-1]} pixels ({said})"
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
            found = self._of_anchors(read_anchors(clip, memory), tensors[TARGET])
            tensors |= dict(zip(keys, found, strict=True))
            references = read_references(clip, memory)
            tensors[references_key(memory)] = self._stored(
                self._references(references, tensors[TARGET])
            )
            if (preceding := read_preceding(clip, memory)) is not None:
                frames = self._stored(self._codec.encode(preceding.frames[None])[0])
                found = (frames, *self._of_anchors(preceding.anchors, frames))
                tensors |= dict(zip(preceding_keys(memory), found, strict=True))
        return tensors

    def _of_anchors(self, anchors: Anchors, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Latents of anchors of as many frames as `target`; their visible tokens and coverage."""
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
        # Slots that show nothing are all the same video, so one of them is encoded for all.
        shown = anchors.visible.flatten(1).any(dim=1)
        filled = fill_holes(anchors.video[shown], anchors.visible[shown], self._holes)
        videos = torch.cat([filled, anchors.video[~shown][:1]])
        slots = torch.where(shown, shown.cumsum(0) - 1, shown.sum())
        return self._codec.encode(videos).cpu()[slots]

    def _stored(self, latents: Tensor) -> Tensor:
        return latents.to("cpu", self._storage)


def smaller_tiles(tile: int | None, side: int, step: int) -> Iterator[int | None]:
    """The tile to begin with, then half of it again and again, down to the smallest.

    Args:
        tile: None = whole videos.
        side: the longer side of the videos.
        step: what a tile is a multiple of.
    """
    yield tile
    tile = side if tile is None else tile
    while tile > step:
        tile = max(tile // 2 // step * step, step)
        yield tile


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch, on a GPU or a CPU, ran out of memory."""
    told = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or any(word in told for word in OUT_OF_MEMORY)
