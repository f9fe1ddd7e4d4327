"""PosedFrames: Context-as-Memory's memory, past frames with their cameras.

Keeps frames and cameras but no geometry: retrieval uses no depth, and there are no anchors. The
chosen frames are references, including moving objects; correspondence is left to the network.
They are chosen by their cameras alone, so content occluded by a wall counts as visible (the paper
names this failure). Costs one frame on disk per memory, and no main memory. The bank also stores
depth if available: it is used only for the report's coverage, and lets other memory systems open
the same bank.

The paper gives neither the limits of its field-of-view test nor the order of the frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anchorweave.anchors import Anchors, Retrieved, empty_anchors
from anchorweave.clip import Clip
from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.plan_view import rays_meet, shared_view
from anchorweave.memory.base import Memory
from anchorweave.memory.config import MemoryConfig
from anchorweave.memory.references import Chosen, references_of, report_of
from anchorweave.retrieval import RetrievalConfig
from anchorweave.retrieval.context_frames import (
    CONTEXT_CHOICES,
    FIRST,
    WITHOUT_VIEWS,
    choose_context,
)


@dataclass(frozen=True)
class PosedFramesConfig:
    """Options of `posed_frames`.

    Args:
        context: k, the maximum number of frames, including the newest (Context-as-Memory: 20).
        choose: the frames in addition to the newest. far takes one random frame from each run of
            consecutive frames in view, farthest apart in space or time first; non_adjacent does so
            in random order; random_in_view takes any in view, random any at all. If too few remain,
            the rest are drawn at random (Context-as-Memory, section 4). recent takes the newest
            ones; first returns the first frame alone, first_and_random adds random others to it,
            both instead of the newest (its table 1).
        overlap: when two cameras look at the same place: area compares their plan views (not given
            in the paper), rays uses the paper's four rays, which miss what was seen from the same
            place or straight ahead.
        min_overlap: a frame is in view if it shares at least this fraction of the plan view of a
            target frame; only for `overlap: area` (not given in the paper).
        near: minimum distance at which views begin or rays intersect, in the recording's unit
            (named but not given in the paper).
        far: maximum distance at which they end or intersect (likewise).
        as_anchors: use the frames as static anchors, in `retrieval.anchors` slots, instead of
            references (an ablation, not in the paper).

    Raises:
        ValueError: a value out of range.
    """

    context: int = 20
    choose: Literal[tuple(CONTEXT_CHOICES)] = "far"
    overlap: Literal["area", "rays"] = "area"
    min_overlap: float = 0.05
    near: float = 0.1
    far: float = 5.0
    as_anchors: bool = False

    def __post_init__(self):
        where = "memory.posed_frames"
        if self.context < 1:
            raise ValueError(f"{where}.context must be 1 or more, got {self.context}")
        if self.choose not in CONTEXT_CHOICES:
            choices = ", ".join(CONTEXT_CHOICES)
            raise ValueError(f"{where}.choose must be one of {choices}, got {self.choose!r}")
        if self.overlap not in ("area", "rays"):
            raise ValueError(f"{where}.overlap must be area or rays, got {self.overlap!r}")
        if not 0 < self.min_overlap <= 1:
            raise ValueError(f"{where}.min_overlap must be in (0, 1], got {self.min_overlap}")
        if not 0 <= self.near < self.far < float("inf"):
            raise ValueError(
                f"{where}.far must be above near, and near 0 or more, got near {self.near} and far "
                f"{self.far}"
            )


class PosedFrames(Memory):
    """Past frames with their cameras (Context-as-Memory, section 4).

    Args:
        bank: the frames on disk.
        config: how many frames are returned, and which.
        retrieval: `seed` of random choices, `downscale` at which the report counts covered pixels,
            and the number of `anchors` if frames are used as anchors.
        rendering: not read, as nothing is rendered.
    """

    options = PosedFramesConfig
    keeps_geometry = False
    reads_depth = False

    @classmethod
    def gives_at_most(cls, config: MemoryConfig, retrieval: RetrievalConfig) -> tuple[int, int]:
        """The context, either as anchors or as references."""
        options = config.posed_frames
        return (retrieval.anchors, 0) if options.as_anchors else (0, options.context)

    def update(self, clip: Clip) -> None:
        """Remember every frame of `clip`."""
        self.bank.append(clip)

    def retrieve(self, cameras: Cameras) -> Retrieved:
        """At most k past frames for T target cameras: the newest, and others that overlap.

        The variants of Context-as-Memory's table 1 that begin with the first frame force that one
        instead.

        As references they are in the order of the bank, so that the newest is next to the target.
        As anchors (an ablation) they are static and visible everywhere, the newest in slot 0, then
        in the order of choice; unfilled slots show nothing. The report has one entry for the whole
        target, in which the newest is forced and `pool` counts the others in view.

        Raises:
            ValueError: cameras without a common up direction; frames as anchors at another image
                size.
        """
        cameras = self.like_bank(cameras)
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
        """All 0, because there is no geometry."""
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
        pool = int(in_view.sum()) - int(in_view[forced])
        return Chosen(numbers, pool, stopped, frozenset({forced}))

    def _in_view(self, cameras: Cameras) -> Bool[Tensor, " M"]:
        """Which remembered frames overlap with the view of any target camera."""
        options, sources = self.config.posed_frames, self.bank.cameras
        if options.choose in WITHOUT_VIEWS:
            return torch.ones(len(sources), dtype=torch.bool)
        if options.overlap == "rays":
            return rays_meet(cameras, sources, options.near, options.far).any(dim=0)
        shares = shared_view(cameras, sources, options.near, options.far)
        return shares.amax(dim=0) >= options.min_overlap

    def _still_anchors(self, numbers: tuple[int, ...], cameras: Cameras) -> Anchors:
        if numbers and cameras.size != self.bank.cameras.size:
            raise ValueError(
                f"frames of {self.bank.cameras.size} (height, width) cannot be used as anchors "
                f"of {cameras.size}; retrieve for cameras of their size, or with "
                "memory.posed_frames.as_anchors=false"
            )
        anchors = empty_anchors(self.retrieval.anchors, (len(cameras), 3, *cameras.size))
        for slot, number in enumerate(numbers):
            anchors.video[slot] = self.bank.frame(number)
            anchors.visible[slot] = True
            anchors.target2source[slot] = cameras.relative_to(self.bank.cameras[number])
        return anchors
