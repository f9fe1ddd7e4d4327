"""Memory: what every memory system does, whatever it keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

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
    """What was seen so far, and what of it matters for where the camera goes next.

    The contract, tested over all systems: an update never changes what an earlier retrieve
    returned; the same updates and cameras give the same result; a memory saved on disk and opened
    again retrieves the same; an empty memory retrieves anchors that show nothing. One that keeps
    geometry shows a view again where it was seen, without what moved in it; one that keeps none
    gives the frame of that view among its references, as it was.

    A system is one file with a subclass, and a line in `MEMORIES`. Its options are a frozen
    dataclass in the same file, named by `options`; the system finds them in its config under the
    name that it is registered by.

    Args:
        bank: where frames are kept.
        config: options of the memory system.
        retrieval: how memories are chosen, as far as the system chooses any.
        rendering: how they are drawn, as far as it draws any.
    """

    # A dataclass of the options that only this system has.
    options: ClassVar[type | None] = None
    # Whether it can draw a view; else it gives frames as they were.
    keeps_geometry: ClassVar[bool] = True
    # Whether what it keeps is made of the depth of frames, and whether it still needs the depth of
    # the frames that it may give.
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
        """How many frames are remembered."""
        return len(self.bank)

    @property
    def fused_points(self) -> int | None:
        """Points of its one fused cloud; None if it has none."""
        return None

    @classmethod
    def gives_at_most(cls, config: MemoryConfig, retrieval: RetrievalConfig) -> tuple[int, int]:
        """How many anchors N and how many references R one retrieve gives, or fewer."""
        return retrieval.anchors, 0

    def may_give(self) -> Sequence[int]:
        """The remembered frames that a later retrieve may show or give."""
        return range(len(self))

    @abstractmethod
    def update(self, clip: Clip) -> None:
        """Remember a clip: frames with depth and cameras in the world frame of the memory.

        Raises:
            ValueError: frames of another size than those remembered already.
            OSError: the clip cannot be stored; what was remembered before stays whole.
        """

    @abstractmethod
    def retrieve(self, cameras: Cameras) -> Retrieved:
        """What is known of T target cameras, rendered for them at their own image size.

        Lengths in the result are in the unit of `cameras`; see `Retrieved.in_unit`.
        """

    @abstractmethod
    def known_depth(self, cameras: Cameras) -> Float[Tensor, "T H W"]:
        """Depth of what memory sees from each camera; 0 where it sees or keeps nothing.

        The prior of perception: only the rest of a new frame has to be estimated.
        """
