"""TrainingClip, one clip of a data set, and Samples, the batch used for training.

Per-clip tensors have the same field name in both; random values drawn per sample are fields of
Samples only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from anchorweave.anchors import AnchorLatents, PrecedingLatents, ReferenceLatents
from anchorweave.batched import Batched
from anchorweave.datasets.layout import BadClip


@dataclass(frozen=True)
class TrainingClip:
    """One clip, encoded.

    Args:
        name: name of the clip, for messages.
        latents: the target video, scaled [t, C, h, w].
        image_latents: its first frame as the backbone's image condition [1, C, h, w], without
            noise.
        prompt_features: text features [S, D].
        anchor_latents: scaled latents of N anchors [N, t, C, h, w].
        visible_tokens: [N, t, h//2, w//2], True where a token contains observed pixels.
        target2source: [N, T, 4, 4], lengths in scene units.
        target2first: [T, 4, 4], likewise.
        reference_latents: scaled latents of R references, each encoded alone [R, C, h, w].
        reference2first: [R, 4, 4], lengths in scene units.
        coverage: [N, t, h//2, w//2], fraction of each token's pixels observed; None = unknown.
        holes: how holes of the anchors were filled before encoding, see
            `anchorweave/holes`.
        preceding: the frames before the target, a batch of one; None = none.
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
    coverage: Float[Tensor, "N t h2 w2"] | None = None
    holes: str = "black"
    preceding: PrecedingLatents | None = None

    @property
    def anchors(self) -> AnchorLatents:
        """Its anchors as input to the networks, a batch of one."""
        return AnchorLatents(
            self.anchor_latents[None],
            self.visible_tokens[None],
            self.target2source[None],
            self.target2first[None],
            None if self.coverage is None else self.coverage[None],
        )

    @property
    def references(self) -> ReferenceLatents:
        """Its references as input to the networks, a batch of one."""
        return ReferenceLatents(
            self.reference_latents[None],
            torch.ones(1, len(self.reference_latents), dtype=torch.bool),
            self.reference2first[None],
            self.target2first[None],
        )


@dataclass(frozen=True)
class Samples(Batched):
    """B samples: clips after random masking, with the noise drawn for them.

    Args:
        names: names of the clips.
        places: indices of the samples in the step's global batch, over all ranks.
        latents: of each clip, see `TrainingClip`.
        image_latents: likewise, without noise.
        prompt_features: likewise, or those of the empty prompt.
        anchors: after anchor dropout.
        references: possibly noised, padded to the largest number in the batch.
        noise: standard normal, float32.
        image_noise: noise added to the image latents, float32.
        timestep: as drawn by `NoiseProcess.draw_timestep`.
        alone: whether the controller's features are dropped.
        bad: unreadable clips that were replaced by others.
        preceding: the frames before the targets, possibly noised; None = none.
    """

    names: tuple[str, ...]
    places: tuple[int, ...]
    latents: Float[Tensor, "B t C h w"]
    image_latents: Float[Tensor, "B 1 C h w"]
    prompt_features: Float[Tensor, "B S D"]
    anchors: AnchorLatents
    references: ReferenceLatents
    noise: Float[Tensor, "B t C h w"]
    image_noise: Float[Tensor, "B 1 C h w"]
    timestep: Shaped[Tensor, " B"]
    alone: Bool[Tensor, " B"]
    bad: tuple[BadClip, ...] = ()
    preceding: PrecedingLatents | None = None

    @classmethod
    def of(
        cls,
        clip: TrainingClip,
        *,
        place: int,
        noise: Float[Tensor, "t C h w"],
        image_noise: Float[Tensor, "1 C h w"],
        timestep: int | float,
        alone: bool,
    ) -> Samples:
        """A clip and its random draws, as a batch of one."""
        of_both = {field.name for field in fields(cls)} & {field.name for field in fields(clip)}
        of_both -= {"preceding"}
        return cls(
            names=(clip.name,),
            places=(place,),
            anchors=clip.anchors,
            references=clip.references,
            preceding=clip.preceding,
            noise=noise[None],
            image_noise=image_noise[None],
            timestep=torch.tensor([timestep]),
            alone=torch.tensor([alone]),
            **{name: getattr(clip, name)[None] for name in of_both},
        )

    @classmethod
    def join(cls, parts: Sequence[Samples]) -> Samples:
        """Concatenates the samples of all parts.

        Raises:
            ValueError: clips of different shapes; the message names them.
        """
        for what, tensor in {
            "latents": lambda part: part.latents,
            "prompt_features": lambda part: part.prompt_features,
            "anchor_latents": lambda part: part.anchors.latents,
            # An empty sequence if there are none.
            "preceding frames": lambda part: getattr(
                part.preceding, "latents", part.latents[:, :0]
            ),
        }.items():
            shapes = {name: tuple(tensor(part).shape[1:]) for part in parts for name in part.names}
            if len(set(shapes.values())) > 1:
                raise ValueError(
                    f"clips of one batch must share the shape of their {what}, got {shapes}; "
                    "prepare them with one config, or use a batch size of 1"
                )
        return super().join(parts)


def training_clip(path: Path, **parts: Tensor | PrecedingLatents | str | None) -> TrainingClip:
    """Builds a TrainingClip after checking that the shapes agree.

    Args:
        path: the clip's folder.
        **parts: the other fields of `TrainingClip`.

    Raises:
        BadClip: the message names the first part that does not fit, with both shapes.
    """
    latents, target2first = parts["latents"], parts["target2first"]
    if latents.ndim != 4 or target2first.ndim != 3:
        shapes = f"{tuple(latents.shape)} and {tuple(target2first.shape)}"
        raise BadClip(path, f"latents [t, C, h, w] and poses [T, 4, 4] have shapes {shapes}")
    t, C, h, w = latents.shape
    N, T, R = len(parts["anchor_latents"]), len(target2first), len(parts["reference_latents"])
    visible = parts["visible_tokens"]
    # Only the backbone knows the patch size.
    rows, columns = visible.shape[-2:] if visible.ndim > 1 else (0, 0)
    expected = {
        "image_latents": ("the first frame's latents", (1, C, h, w)),
        "anchor_latents": ("the anchors' latents", (N, t, C, h, w)),
        "visible_tokens": ("the visible tokens", (N, t, rows, columns)),
        "target2source": ("target2source", (N, T, 4, 4)),
        "target2first": ("target2first", (T, 4, 4)),
        "reference_latents": ("the references' latents", (R, C, h, w)),
        "reference2first": ("reference2first", (R, 4, 4)),
    }
    if parts.get("coverage") is not None:
        expected["coverage"] = ("the coverage of the tokens", tuple(visible.shape))
    for name, (what, shape) in expected.items():
        if (actual := tuple(parts[name].shape)) != shape:
            raise BadClip(path, f"{what}: got shape {actual}, expected {shape}")
    if not (rows and columns) or h % rows or w % columns or h // rows != w // columns:
        shape = tuple(visible.shape)
        raise BadClip(path, f"visible tokens of shape {shape} do not divide latents of {h}x{w}")
    if T < t or (t > 1 and (T - 1) % (t - 1)):
        raise BadClip(path, f"poses of {T} frames do not fit latents of {t}")
    if (preceding := parts.get("preceding")) is not None:
        _check_preceding(path, preceding, (N, C, h, w), (rows, columns), (T - 1) // max(t - 1, 1))
    return TrainingClip(name=str(path), **parts)


def _check_preceding(
    path: Path,
    preceding: PrecedingLatents,
    shape: tuple[int, int, int, int],
    grid: tuple[int, int],
    in_time: int,
) -> None:
    """Refuses preceding frames that do not match the anchors [N, ., C, h, w] and tokens."""
    N, C, h, w = shape
    p = preceding.latents.shape[1]
    P = (p - 1) * in_time + 1
    for what, tensor, expected in (
        ("latents", preceding.latents, (1, p, C, h, w)),
        ("anchors", preceding.anchors.latents, (1, N, p, C, h, w)),
        ("visible tokens", preceding.anchors.visible_tokens, (1, N, p, *grid)),
        ("poses", preceding.anchors.target2source, (1, N, P, 4, 4)),
        ("cameras", preceding.anchors.target2first, (1, P, 4, 4)),
    ):
        if (actual := tuple(tensor.shape)) != expected:
            raise BadClip(path, f"preceding frames' {what}: got {actual}, expected {expected}")
