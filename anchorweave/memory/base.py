"""Memory: the interface of all memory systems."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.anchors import Retrieved
from anchorweave.clip import Clip
from anchorweave.geometry.cameras import Cameras
from anchorweave.memory.bank import Bank
from anchorweave.memory.config import MemoryConfig
from anchorweave.rendering.anchor_video import RenderConfig
from anchorweave.retrieval import RetrievalConfig


class Memory(ABC):
    """Stores past frames, and retrieves what is relevant to the next target cameras.

    The contract, tested for all systems: an update never changes what an earlier retrieve returned;
    the same updates and cameras give the same result; a memory that is saved and reopened retrieves
    the same; an empty memory retrieves anchors that show nothing. A system with geometry can
    re-render a remembered view, without moving objects; one without returns that view's frame among
    its references.

    A system is one file with a subclass, and a line in `MEMORIES`. Its options are a frozen
    dataclass in the same file, set as `options`; the system finds them in its config under its
    registered name.

    Args:
        bank: the frames on disk.
        config: options of the memory system.
        retrieval: how memories are chosen, if the system chooses any.
        rendering: how they are rendered, if the system renders.
    """

    # Dataclass of the options specific to this system.
    options: ClassVar[type | None] = None
    # Whether it can render a view; otherwise it returns frames unchanged.
    keeps_geometry: ClassVar[bool] = True
    # Whether its stored state is computed from the depth of frames, and whether retrieving still
    # reads the depth of stored frames.
    reads_depth: ClassVar[bool] = True
    draws_from_depth: ClassVar[bool] = False

    def __init__(
        self,
        bank: Bank,
        config: MemoryConfig | None = None,
        retrieval: RetrievalConfig | None = None,
        rendering: RenderConfig | None = None,
    ):
        self.bank = bank
        self.config = config or MemoryConfig()
        self.retrieval = retrieval or RetrievalConfig()
        self.rendering = rendering or RenderConfig()

    def __len__(self) -> int:
        """Number of remembered frames."""
        return len(self.bank)

    @property
    def fused_points(self) -> int | None:
        """Number of points of its single fused cloud; None if it has none."""
        return None

    @classmethod
    def preceding_frames(cls, config: MemoryConfig) -> int:
        """Number of last frames that are also given as one clip; 0 = none."""
        return 0

    @classmethod
    def gives_at_most(cls, config: MemoryConfig, retrieval: RetrievalConfig) -> tuple[int, int]:
        """Upper bounds on the numbers of anchors N and references R returned by one retrieve."""
        return retrieval.anchors, 0

    def may_give(self) -> Sequence[int]:
        """The remembered frames that a later retrieve may use."""
        return range(len(self))

    def like_bank(self, cameras: Cameras) -> Cameras:
        """Target cameras in the precision of the remembered ones."""
        return cameras.to(self.bank.cameras.c2w.dtype if len(self.bank) else torch.float32)

    @abstractmethod
    def update(self, clip: Clip) -> None:
        """Remembers a clip: frames with depth and cameras in the world frame of the memory.

        Raises:
            ValueError: frames of another size than those already remembered.
            OSError: the clip cannot be stored; the memory stays as it was.
        """

    @abstractmethod
    def retrieve(self, cameras: Cameras) -> Retrieved:
        """Anchors and references for T target cameras of any precision, at their image size.

        Lengths in the result are in the unit of `cameras`; see `Retrieved.in_unit`.
        """

    @abstractmethod
    def known_depth(self, cameras: Cameras) -> Float[Tensor, "T H W"]:
        """Depth rendered from memory for each camera; 0 where memory has nothing.

        Used as the prior of perception: only the rest of a new frame has to be estimated.
        """
