"""Memory: what every memory system does, whatever it keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from anchorweave.anchors import Retrieved
from anchorweave.clip import Clip
from anchorweave.geometry.cameras import Cameras


class Memory(ABC):
    """What was seen so far, and what of it matters for where the camera goes next.

    The contract, tested over all systems: an update never changes what an earlier retrieve
    returned; the same updates and cameras give the same result; a memory saved on disk and opened
    again retrieves the same; an empty memory retrieves anchors that show nothing. One that keeps
    geometry shows a view again where it was seen, without what moved in it; one that keeps none
    gives the frame of that view among its references, as it was.
    """

    keeps_geometry: ClassVar[bool] = True

    @abstractmethod
    def __len__(self) -> int:
        """How many frames are remembered."""

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
