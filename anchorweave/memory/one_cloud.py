"""OneCloud: base of memories that fuse everything into one cloud and return reference frames.

The cloud is rendered along the target cameras as the only anchor; frames of the bank are
references. How the cloud is fused and which frames are chosen is up to the subclass. The cloud is
not saved, because it can be rebuilt from the bank's frames.
"""

from __future__ import annotations

from abc import abstractmethod

from jaxtyping import Float
from torch import Tensor

from anchorweave.anchors import Anchors, Preceding, Retrieved
from anchorweave.clip import Clip
from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.point_cloud import PointCloud
from anchorweave.memory.base import Memory
from anchorweave.memory.references import Chosen, references_of, report_of
from anchorweave.rendering.anchor_video import render_anchor
from anchorweave.rendering.point_splat import Splat


class OneCloud(Memory):
    """A memory with one fused cloud, `cloud`.

    Args:
        bank: the frames on disk.
        config: options of the memory system.
        retrieval: `downscale` at which the report counts covered pixels, and whatever else the
            subclass documents.
        rendering: how the cloud is drawn.
    """

    cloud: PointCloud

    @property
    def fused_points(self) -> int:
        """Points of the cloud."""
        return len(self.cloud)

    def update(self, clip: Clip) -> None:
        """Remembers every frame of `clip`, and fuses it into the cloud."""
        self.bank.append(clip)
        self._fuse()

    def retrieve(self, cameras: Cameras) -> Retrieved:
        """The fused cloud rendered for T target cameras as the one anchor, and some references.

        A fused cloud was not seen from any single camera, so `target2source` is relative to the
        first target camera: in every run its frame is given and remembered, and the released
        AnchorWeave does the same for the render of the first frame. The report has one entry for
        the whole target; its picks are the references in order.
        """
        cameras = self.like_bank(cameras)
        splat = self._splat(cameras)
        target2first = cameras.relative_to(cameras[0])
        anchor = Anchors(splat.video[None], splat.visible[None], target2first[None].clone())
        chosen = self._choose(cameras, splat)
        references = references_of(self.bank, chosen.numbers, cameras)
        report = report_of(
            self.bank, chosen, cameras, self.config.depth_edge, self.retrieval.downscale
        )
        preceding = self._preceding(cameras)
        return Retrieved(anchor, references, target2first, (report,), preceding=preceding)

    def known_depth(self, cameras: Cameras) -> Float[Tensor, "T H W"]:
        """Depth of the fused cloud; 0 where no point projects."""
        return self._splat(self.like_bank(cameras)).depth

    def _splat(self, cameras: Cameras) -> Splat:
        return render_anchor(self.cloud, cameras, self.rendering)

    def _preceding(self, cameras: Cameras) -> Preceding | None:
        """The frames ahead of T target cameras as one clip; None where none are given."""
        return None

    @abstractmethod
    def _fuse(self) -> None:
        """Adds the frames of the bank that are not in the cloud yet, oldest first.

        They are read back from the bank, so that an incrementally grown cloud and one rebuilt from
        a reopened bank are identical bit for bit.
        """

    @abstractmethod
    def _choose(self, cameras: Cameras, shown: Splat) -> Chosen:
        """The references for T target cameras, and why; `shown` is the anchor."""
