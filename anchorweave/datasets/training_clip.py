"""TrainingClip: what training sees of one prepared clip, and a batch of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anchorweave.anchors import AnchorLatents, ReferenceLatents


@dataclass(frozen=True)
class TrainingClip:
    """One clip, encoded.

    Args:
        name: which clip, for messages.
        latents: the target video, scaled [t, C, h, w].
        image_latents: its first frame as the backbone takes it [1, C, h, w], without noise.
        prompt_features: text features [S, D].
        anchor_latents: scaled latents of N anchors [N, t, C, h, w].
        visible_tokens: [N, t, h//2, w//2], True where a token shows seen pixels.
        target2source: [N, T, 4, 4], lengths in scene units.
        target2first: [T, 4, 4], likewise.
        reference_latents: scaled latents of R references, each encoded alone [R, C, h, w].
        reference2first: [R, 4, 4], lengths in scene units.
        holes: what the anchors held where nothing was seen when they were encoded, see
            `anchorweave/holes`.
    """

    name: str
    latents: Float[Tensor, "t C h w"]
    image_latents: Float[Tensor, "1 C h w"]
    prompt_features: Float[Tensor, "S D"]
    anchor_latents: Float[Tensor, "N t C h w"]
    visible_tokens: Bool[Tensor, "N t h2 w2"]
    target2source: Float[Tensor, "N T 4 4"]
    target2first: Float[Tensor, "T 4 4"]
    reference_latents: Float[Tensor, "R C h w"]
    reference2first: Float[Tensor, "R 4 4"]
    holes: str = "black"


@dataclass(frozen=True)
class TrainingBatch:
    """B clips of one shape, stacked; see `TrainingClip`."""

    names: tuple[str, ...]
    latents: Float[Tensor, "B t C h w"]
    image_latents: Float[Tensor, "B 1 C h w"]
    prompt_features: Float[Tensor, "B S D"]
    anchors: AnchorLatents
    references: ReferenceLatents

    def pin_memory(self) -> TrainingBatch:
        """Where a GPU can fetch it by itself."""

        def pinned(value: object) -> object:
            if isinstance(value, Tensor):
                return value.pin_memory()
            if isinstance(value, (AnchorLatents, ReferenceLatents)):
                return type(value)(*(pinned(getattr(value, one.name)) for one in fields(value)))
            return value

        return TrainingBatch(*(pinned(getattr(self, one.name)) for one in fields(self)))


def collate(clips: Sequence[TrainingClip]) -> TrainingBatch:
    """A batch of clips; references are padded to the clip that has most.

    Raises:
        ValueError: clips of different shapes, by name.
    """
    for field in ("latents", "prompt_features", "anchor_latents"):
        shapes = {clip.name: tuple(getattr(clip, field).shape) for clip in clips}
        if len(set(shapes.values())) > 1:
            raise ValueError(
                f"clips of one batch must share the shape of their {field}, met {shapes}; "
                "prepare them with one config, or use batches of one"
            )

    def stacked(field: str) -> Tensor:
        return torch.stack([getattr(clip, field) for clip in clips])

    return TrainingBatch(
        names=tuple(clip.name for clip in clips),
        latents=stacked("latents"),
        image_latents=stacked("image_latents"),
        prompt_features=stacked("prompt_features"),
        anchors=AnchorLatents(
            stacked("anchor_latents"),
            stacked("visible_tokens"),
            stacked("target2source"),
            stacked("target2first"),
        ),
        references=_references(clips),
    )


def _references(clips: Sequence[TrainingClip]) -> ReferenceLatents:
    B, R = len(clips), max(len(clip.reference_latents) for clip in clips)
    latents = clips[0].latents.new_zeros(B, R, *clips[0].latents.shape[1:])
    poses = torch.eye(4).expand(B, R, 4, 4).clone()
    present = torch.zeros(B, R, dtype=torch.bool)
    for b, clip in enumerate(clips):
        there = len(clip.reference_latents)
        latents[b, :there], poses[b, :there] = clip.reference_latents, clip.reference2first
        present[b, :there] = True
    target2first = torch.stack([clip.target2first for clip in clips])
    return ReferenceLatents(latents, present, poses, target2first)
