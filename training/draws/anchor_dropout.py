"""Anchor dropout: the controller learns not to depend on every anchor in every frame.

Drawn per sample; the released code draws once per batch. Dropout hides the latents and the visible
tokens; camera poses are kept. A dropped slot is also dropped in the preceding frames, if any.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anchorweave.anchors import PrecedingLatents
from anchorweave.datasets.training_clip import TrainingClip


@dataclass(frozen=True)
class AnchorDropoutConfig:
    """Probability and strength of each kind of dropout; the remaining samples are unchanged.

    Args:
        frames: fraction of samples in which latent frames of each anchor are hidden, independently.
        subset: fraction in which only some anchors are kept: 1 to all of them, uniformly.
        only_first: fraction in which only the first slot is kept, and hidden from some frame on.
        hidden_frames: fraction of an anchor's latent frames after the first that `frames` hides; at
            least one frame.
        cut_from: earliest cut of `only_first`, as a fraction of the clip.
        cut_to: latest cut.
        slots: what `subset` and `only_first` do to dropped slots. `removed` removes them from the
            clip as in the released code, which is much faster, but clips in a batch then have
            different numbers of anchors: only for batches of one. `hidden` keeps them but shows
            nothing, like padded slots in sampling; with a controller of `tokens="visible"` both are
            equivalent.
        hidden: content of hidden latents. `zero` as in the released code: never produced by a VAE,
            but needs no extra file. `black`: the latent of a black video, as in padded slots in
            sampling (and close to the encoding of a black frame among others).

    The first latent frame of a kept slot is always kept. Fractions in the released code: a quarter
    each (its comment says 20 %); the paper mentions random frame masking only.

    Raises:
        ValueError: fractions outside [0, 1] or summing to more than 1, or a cut range that ends
            before it starts.
    """

    frames: float = 0.25
    subset: float = 0.25
    only_first: float = 0.25
    hidden_frames: float = 0.5
    cut_from: float = 0.25
    cut_to: float = 0.75
    slots: Literal["hidden", "removed"] = "hidden"
    hidden: Literal["zero", "black"] = "zero"

    def __post_init__(self):
        kinds = (self.frames, self.subset, self.only_first)
        if not (min(kinds) >= 0 and sum(kinds) <= 1):
            raise ValueError(
                f"anchor dropout draws frames={self.frames}, subset={self.subset} and "
                f"only_first={self.only_first}; none may be negative, nor all together exceed 1"
            )
        if not 0 <= self.hidden_frames <= 1:
            raise ValueError(f"hidden_frames={self.hidden_frames} is a share, 0 to 1")
        if not 0 <= self.cut_from <= self.cut_to <= 1:
            raise ValueError(
                f"a cut between cut_from={self.cut_from} and cut_to={self.cut_to}; these are "
                "shares of the clip with 0 <= cut_from <= cut_to <= 1"
            )


@dataclass(frozen=True)
class Kept:
    """What is kept of one sample.

    Args:
        kind: `frames`, `subset`, `only_first` or `none`.
        frames: [N, t], False where a slot's latent frame is hidden.
    """

    kind: str
    frames: Bool[Tensor, "N t"]


def draw_kept(config: AnchorDropoutConfig, N: int, t: int, generator: torch.Generator) -> Kept:
    """Draws what is kept of a sample with N anchors and t latent frames."""
    kept = torch.ones(N, t, dtype=torch.bool)
    u, reached, kind = _uniform(generator), 0.0, "none"
    for name in ("frames", "subset", "only_first"):
        reached += getattr(config, name)
        if u < reached:
            kind = name
            break
    if N == 0:
        return Kept(kind, kept)
    if kind == "frames" and t > 1:
        count = max(1, int((t - 1) * config.hidden_frames))
        for slot in kept:
            slot[1 + torch.randperm(t - 1, generator=generator)[:count]] = False
    elif kind == "subset":
        count = 1 + int(_uniform(generator) * N)
        kept[torch.randperm(N, generator=generator)[count:]] = False
    elif kind == "only_first":
        share = config.cut_from + _uniform(generator) * (config.cut_to - config.cut_from)
        kept[1:] = False
        kept[0, max(1, int(t * share)) :] = False
    return Kept(kind, kept)


def drop_anchors(
    clip: TrainingClip,
    kept: Bool[Tensor, "N t"],
    config: AnchorDropoutConfig,
    black: Float[Tensor, "frames C height width"] | None = None,
) -> TrainingClip:
    """The clip with its anchors hidden where they are not kept.

    Args:
        clip: left unchanged; without anchors there is nothing to hide.
        kept: False where a slot's latent frame is hidden; a slot with no True is dropped.
        config: options.
        black: the scaled latent of a black video of the clip's size (`hidden="black"`).

    Raises:
        ValueError: `hidden="black"`, but the black latent is missing or has another shape than the
            clip's.
    """
    if not len(clip.anchor_latents):
        return clip
    if config.hidden == "black":
        _check_black(clip, black)
    if clip.preceding is not None:
        clip = replace(clip, preceding=_drop_slots(clip.preceding, kept.any(dim=1), config, black))
    if config.slots == "removed":
        slots = kept.any(dim=1)
        kept = kept[slots]
        clip = replace(
            clip,
            anchor_latents=clip.anchor_latents[slots],
            visible_tokens=clip.visible_tokens[slots],
            target2source=clip.target2source[slots],
            coverage=None if clip.coverage is None else clip.coverage[slots],
        )
    if kept.all():
        return clip
    latents = clip.anchor_latents
    blank = torch.zeros_like(latents[:1]) if config.hidden == "zero" else black.to(latents)[None]
    return replace(
        clip,
        anchor_latents=torch.where(kept[:, :, None, None, None], latents, blank),
        visible_tokens=clip.visible_tokens & kept[:, :, None, None],
        coverage=None if clip.coverage is None else clip.coverage * kept[:, :, None, None],
    )


def _drop_slots(
    preceding: PrecedingLatents, kept: Bool[Tensor, " N"], config: AnchorDropoutConfig, black
) -> PrecedingLatents:
    """The preceding frames without the anchors of dropped slots."""
    anchors = preceding.anchors
    if kept.all():
        return preceding
    share = anchors.coverage
    if config.slots == "removed":
        anchors = replace(
            anchors,
            latents=anchors.latents[:, kept],
            visible_tokens=anchors.visible_tokens[:, kept],
            target2source=anchors.target2source[:, kept],
            coverage=None if share is None else share[:, kept],
        )
        return replace(preceding, anchors=anchors)
    mask = kept[None, :, None, None, None]
    blank = torch.zeros_like(anchors.latents[:, :1])
    if config.hidden == "black":
        # Causal: a frame does not depend on later ones.
        blank = black[: anchors.latents.shape[2]].to(blank)[None, None]
    anchors = replace(
        anchors,
        latents=torch.where(mask[..., None], anchors.latents, blank),
        visible_tokens=anchors.visible_tokens & mask,
        coverage=None if share is None else share * mask,
    )
    return replace(preceding, anchors=anchors)


def _check_black(clip: TrainingClip, black: Tensor | None) -> None:
    if black is None:
        raise ValueError(
            "hidden anchors are to show black (anchor dropout hidden=black), but no latent of a "
            "black video was given; encode one, or choose hidden=zero"
        )
    if black.shape != clip.anchor_latents.shape[1:]:
        raise ValueError(
            f"the latent of the black video is {tuple(black.shape)}, the anchors of clip "
            f"{clip.name} are {tuple(clip.anchor_latents.shape[1:])}; encode black of the same size"
        )


def _uniform(generator: torch.Generator) -> float:
    return torch.rand((), generator=generator, dtype=torch.float64).item()
