"""GlobalCloud: Spatia's memory, one fused point cloud of all that was seen, and reference frames.

Keeps a point per voxel: the mean of all points that ever fell into it. Forgets which frame a point
came from, so where poses or depths err one surface lies at several places, or is blurred. The
frames themselves stay on disk: some that show what the target will show are given as they were
seen. Costs some 110 bytes of main memory a voxel; the cloud is saved nowhere, because the bank's
frames make it again.

The paper builds its cloud from one frame in training and estimates depth and poses itself; here it
is built from all remembered frames, as in the paper's long rollouts, with the depth that perception
gave them. The bank holds no depth for moving things, so that the cloud is of what stands still.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.anchors import Anchors, ChunkReport, Pick, References, Retrieved
from anchorweave.clip import Clip
from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.footprint import footprints, newly_covered
from anchorweave.geometry.point_cloud import cloud_from_frame
from anchorweave.geometry.voxels import FusedCloud
from anchorweave.memory.bank import Bank
from anchorweave.memory.base import Memory
from anchorweave.memory.config import MemoryConfig
from anchorweave.progress import slowly
from anchorweave.rendering.anchor_video import RenderConfig, render_anchor
from anchorweave.rendering.point_splat import Splat
from anchorweave.retrieval import CoarseViews, RetrievalConfig, coarse_views, join_coarse_views
from anchorweave.retrieval.coarse_views import coarse_size
from anchorweave.retrieval.scene_overlap import SceneParts, choose_references, views_asked


class GlobalCloud(Memory):
    """One fused point cloud of all remembered frames (Spatia, section 3.1).

    Args:
        bank: where frames are kept.
        config: how clouds are cleaned and fused, and how many references are given.
        retrieval: only `downscale` is read, at which the report counts covered pixels; the one
            cloud leaves nothing else to choose.
        rendering: how the cloud is drawn.
    """

    def __init__(
        self,
        bank: Bank,
        config: MemoryConfig | None = None,
        retrieval: RetrievalConfig | None = None,
        rendering: RenderConfig | None = None,
    ):
        self.bank = bank
        self.config = config or MemoryConfig(kind="global_cloud")
        self.retrieval = retrieval or RetrievalConfig()
        self.rendering = rendering or RenderConfig()
        self._fused = FusedCloud(self.config.global_cloud.voxel)
        self._parts = SceneParts(self.config.global_cloud.overlap_voxel)
        self.cloud = self._fused.cloud()
        self._fuse()

    def __len__(self) -> int:
        return len(self.bank)

    def update(self, clip: Clip) -> None:
        """Remember every frame of `clip`, and fuse it with what is there."""
        self.bank.append(clip)
        self._fuse()

    def retrieve(self, cameras: Cameras) -> Retrieved:
        """The fused cloud rendered for T target cameras, the one anchor, and up to K references.

        A fused cloud was seen from no single camera, so `target2source` is told from the first
        target camera: in every run its frame is given and remembered, and it is what the released
        AnchorWeave tells of the render of the first frame. The report has one entry for the whole
        target: its picks are the references in their order, `pool` the frames that overlap enough
        with any target frame that asked.

        Source: Spatia, section 3.1 and Algorithm 1.
        """
        shown = self._splat(cameras)
        target2first = cameras.relative_to(cameras[0])
        anchor = Anchors(shown.video[None], shown.visible[None], target2first[None].clone())
        chosen, report = self._choose(cameras, shown)
        references = References(torch.zeros(0, 3, *cameras.size), cameras[:0])
        if chosen:
            frames = torch.stack([self.bank.frame(number) for number in chosen])
            references = References(frames, self.bank.cameras[chosen])
        return Retrieved(anchor, references, target2first, (report,))

    def known_depth(self, cameras: Cameras) -> Float[Tensor, "T H W"]:
        """Depth of the fused cloud; 0 where no point of it lands."""
        return self._splat(cameras).depth

    def _splat(self, cameras: Cameras) -> Splat:
        return render_anchor(self.cloud, cameras, self.rendering)

    def _choose(self, cameras: Cameras, shown: Splat) -> tuple[list[int], ChunkReport]:
        """The references, by their numbers in the bank, and why."""
        config = self.config.global_cloud
        asked = views_asked(len(cameras), config.references)
        shares = [
            self._parts.overlap(cloud_from_frame(shown.video[i], shown.depth[i], cameras[i]).points)
            for i in slowly(asked, "looking for references")
        ]
        chosen, stopped = choose_references(shares, config.references, config.min_overlap)
        pool = 0
        if shares:
            pool = int((torch.stack(shares) > config.min_overlap).any(dim=0).sum())
        picks = self._picks(chosen, cameras)
        return chosen, ChunkReport(0, len(cameras), pool, picks, stopped)

    def _picks(self, chosen: list[int], cameras: Cameras) -> tuple[Pick, ...]:
        """What each reference covers of the target that those before it do not."""
        if not chosen:
            return ()
        downscale = self.retrieval.downscale
        known = join_coarse_views([self._coarse_view(number) for number in chosen])
        views = cameras.to("cpu").resized(coarse_size(cameras.size, downscale))
        seen = footprints(known.depth, known.cameras, views, torch.arange(len(chosen)))
        pixels = len(views) * views.size[0] * views.size[1]
        covered, total, picks = torch.zeros_like(seen[0]), 0, []
        for slot, (number, footprint) in enumerate(zip(chosen, seen, strict=True)):
            gain = int(newly_covered(footprint[None], covered))
            covered, total = covered | footprint, total + gain
            name = self.bank.names[number]
            picks.append(Pick(slot, number, name, gain / pixels, total / pixels))
        return tuple(picks)

    def _coarse_view(self, number: int) -> CoarseViews:
        one = slice(number, number + 1)
        depth = self.bank.clean_depth(number, self.config.depth_edge)[None]
        return coarse_views(
            depth, self.bank.cameras[one], self.bank.names[one], self.retrieval.downscale
        )

    def _fuse(self) -> None:
        """Adds the frames of the bank that are not in the cloud yet, oldest first.

        They are read back from the bank, so that a cloud that grew and one that is made again from
        an opened bank are the same to the last bit.
        """
        known = len(self._parts)
        for number in slowly(range(known, len(self.bank)), "fusing"):
            depth = self.bank.clean_depth(number, self.config.depth_edge)
            cloud = cloud_from_frame(self.bank.frame(number), depth, self.bank.cameras[number])
            self._fused.add(cloud)
            self._parts.add(cloud.points)
        if known < len(self.bank):
            self.cloud = self._fused.cloud()
