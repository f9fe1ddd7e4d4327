"""Additional cost of references in a training step, counted as in `operations.py`."""

from __future__ import annotations

from dataclasses import replace

from anchorweave.models.backbones import BackboneSizes
from anchorweave.models.references.historical_attention import HistoricalAttention
from anchorweave.models.references.reference_networks import ReferenceNetwork
from training.estimates.operations import Looking, Step


def with_references(
    step: Step,
    backbone: BackboneSizes,
    references: ReferenceNetwork,
    *,
    count: int,
    batch: int,
    latent_size: tuple[int, int, int],
    trained: bool = True,
    preceding: int = 0,
) -> Step:
    """A step with references.

    Args:
        step: one call of the networks without them.
        backbone: its sizes.
        references: the reference network; only its configuration is used.
        count: R, reference frames per sample.
        batch: samples B of the call.
        latent_size: (t, h, w).
        trained: whether that network's weights are trained.
        preceding: latent frames before the video, which join it like references.
    """
    count += preceding
    t, h, w = latent_size
    patch, D, B = backbone.patch_size, backbone.backbone_dim, batch
    frame = (h // patch) * (w // patch)
    # Latents need no gradient, so the backward pass only has the patch layer's weight gradient.
    ends = [(B * count * frame * 2 * patch**2 * backbone.latent_channels * D, int(trained))]
    if isinstance(references, HistoricalAttention):
        config = references.config
        looking = Looking(
            layers=len(references.places),
            rows=B,
            queries=t * frame,
            keys=count * frame,
            dim=D,
            inner=config.heads * config.head_dim,
            trained=trained,
        )
        return replace(step, looking=looking, ends=(*step.ends, *ends))
    ends.append((len(references.pose) * 2 * B * (count + t) * 12 * D, int(trained)))
    joined = replace(step.backbone, tokens=step.backbone.tokens + count * frame)
    return replace(step, backbone=joined, ends=(*step.ends, *ends))
