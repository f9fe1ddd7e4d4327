"""The registry of backbone families. To add one, write its files and add a line here.

This does not import diffusers, so that preparing clips, which needs no network, can query supported
video sizes.
"""

from __future__ import annotations

from dataclasses import dataclass

from anchorweave.models.codec.forms import VideoForm


@dataclass(frozen=True)
class FamilyEntry:
    """Locations of a family's classes, as `module:class`, imported on first use.

    Args:
        backbone: its `Family` (`anchorweave/models/backbones/base.py`), which names its codec and
            text encoder.
        pipeline: its pipeline, a subclass of `WeavingMixin` (`anchorweave/pipelines`).
        form: lengths and sizes of videos supported by its published networks.
    """

    backbone: str
    pipeline: str
    form: VideoForm


FAMILIES = {
    "cogvideox": FamilyEntry(
        "anchorweave.models.backbones.cogvideox:CogVideoX",
        "anchorweave.pipelines.cogvideox:AnchorWeavePipeline",
        VideoForm(frame_step=4, size_step=16),
    ),
    "wan": FamilyEntry(
        "anchorweave.models.backbones.wan:Wan",
        "anchorweave.pipelines.wan:AnchorWeaveWanPipeline",
        VideoForm(frame_step=4, size_step=32),
    ),
}
