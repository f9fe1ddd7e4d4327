"""PosedFrames: Context-as-Memory's memory, past frames with the cameras that saw them.

Keeps frames and cameras, no geometry: depth plays no part in what is retrieved, and there are no
anchors. Some frames are given as they were seen, moving things included; to see what they say of
the target is left to the network. Which ones is told from the cameras alone, so that what a wall
hides counts as seen (the paper names this failure). Costs a frame on disk a memory, and nothing in
main memory. The bank keeps depth as well where there is some: here it is read for the report alone,
which tells what the chosen frames cover, and another memory system can open the same bank.

The paper gives neither the limits of its field-of-view test nor the order of the frames.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anchorweave.anchors import Anchors, Retrieved, empty_anchors
from anchorweave.clip import Clip
from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.plan_view import rays_meet, shared_view
from anchorweave.memory.bank import Bank
from anchorweave.memory.base import Memory
from anchorweave.memory.config import MemoryConfig
from anchorweave.memory.references import Chosen, references_of, report_of
from anchorweave.rendering.anchor_video import RenderConfig
from anchorweave.retrieval import RetrievalConfig
from anchorweave.retrieval.context_frames import FIRST, WITHOUT_VIEWS, choose_context


class PosedFrames(Memory):
    """Past frames with their cameras (Context-as-Memory, section 4).

    Args:
        bank: where frames are kept.
        config: how many frames are given, and which.
        retrieval: `seed` of what is random, `downscale` at which the report counts covered pixels,
            and for frames as anchors how many `anchors` there are.
        rendering: not read, as nothing is rendered.
    """

    keeps_geometry = False

    def __init__(
        self,
        bank: Bank,
        config: MemoryConfig | None = None,
        retrieval: RetrievalConfig | None = None,
        rendering: RenderConfig | None = None,
    ):
        self.bank = bank
        self.config = config or MemoryConfig(kind="posed_frames")
        self.retrieval = retrieval or RetrievalConfig()

    def __len__(self) -> int:
        return len(self.bank)

    def update(self, clip: Clip) -> None:
        """Remember every frame of `clip`."""
        self.bank.append(clip)

    def retrieve(self, cameras: Cameras) -> Retrieved:
        """At most k past frames for T target cameras: the newest, and others that look there.

        The ways of Context-as-Memory's table 1 that begin with the first frame force that one.

        As references they come in the order of the bank, so that the newest is next to the target.
        As anchors (an ablation) they stand still and are visible everywhere, the newest in slot 0,
        then in the order in which they were chosen; slots that are left show nothing. The report
        has one entry for the whole target, in which the newest is forced and `pool` counts the
        others in view.

        Raises:
            ValueError: cameras without a common up; frames as anchors of another size than theirs.
        """
        as_anchors = self.config.posed_frames.as_anchors
        chosen = self._choose(cameras)
        if as_anchors:
            anchors = self._still_anchors(chosen.numbers, cameras)
        else:
            anchors = empty_anchors(0, (len(cameras), 3, *cameras.size))
        references = references_of(self.bank, () if as_anchors else chosen.numbers, cameras)
        report = report_of(
            self.bank, chosen, cameras, self.config.depth_edge, self.retrieval.downscale
        )
        return Retrieved(anchors, references, cameras.relative_to(cameras[0]), (report,))

    def known_depth(self, cameras: Cameras) -> Float[Tensor, "T H W"]:
        """All 0: no geometry is kept."""
        return torch.zeros(len(cameras), *cameras.size)

    def _choose(self, cameras: Cameras) -> Chosen:
        options, newest = self.config.posed_frames, len(self.bank) - 1
        if newest < 0:
            return Chosen((), 0, "pool empty")
        forced = 0 if options.choose in FIRST else newest
        count = options.context
        if options.as_anchors:
            count = min(count, self.retrieval.anchors)
        in_view = self._in_view(cameras)
        others, stopped = choose_context(
            in_view,
            self.bank.cameras.centres,
            (forced,),
            count - 1,
            options.choose,
            self.retrieval.seed,
        )
        numbers = (forced, *others) if options.as_anchors else tuple(sorted((*others, forced)))
        pool = int(in_view.sum() - in_view[forced])
        return Chosen(numbers, pool, stopped, frozenset({forced}))

    def _in_view(self, cameras: Cameras) -> Bool[Tensor, " M"]:
        """Which remembered frames look at what any target camera does."""
        options, known = self.config.posed_frames, self.bank.cameras
        if options.choose in WITHOUT_VIEWS:
            return torch.ones(len(known), dtype=torch.bool)
        if options.overlap == "rays":
            return rays_meet(cameras, known, options.near, options.far).any(dim=0)
        shares = shared_view(cameras, known, options.near, options.far)
        return shares.amax(dim=0) >= options.min_overlap

    def _still_anchors(self, numbers: tuple[int, ...], cameras: Cameras) -> Anchors:
        if numbers and cameras.size != self.bank.cameras.size:
            raise ValueError(
                f"frames of {self.bank.cameras.size} (height, width) cannot be given as anchors "
                f"of {cameras.size}; retrieve for cameras of their size, or with "
                "memory.posed_frames.as_anchors=false"
            )
        anchors = empty_anchors(self.retrieval.anchors, (len(cameras), 3, *cameras.size))
        for slot, number in enumerate(numbers):
            anchors.video[slot] = self.bank.frame(number)
            anchors.visible[slot] = True
            anchors.target2source[slot] = cameras.relative_to(self.bank.cameras[number])
        return anchors
