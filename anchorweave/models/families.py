"""Families of backbones: the registry. To add one, write its files and add a line here.

Nothing here imports diffusers, so that preparing clips, which needs no network, can ask which
videos fit.
"""

from __future__ import annotations

from dataclasses import dataclass

from anchorweave.models.codec.forms import VideoForm


@dataclass(frozen=True)
class FamilyEntry:
    """Where a family's classes are, as `module:class`, imported on first use.

    Args:
        backbone: its `Family` (`anchorweave/models/backbones/base.py`), which names its codec and
            text encoder.
        pipeline: its pipeline, a subclass of `WeavingMixin` (`anchorweave/pipelines`).
        form: lengths and sizes of the videos that its published networks take.
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
