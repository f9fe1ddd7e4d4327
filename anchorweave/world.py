"""World: the retrieve -> generate -> update loop over a long trajectory (paper section 3.1)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.anchors import Retrieved
from anchorweave.clip import Clip
from anchorweave.geometry.cameras import Cameras
from anchorweave.memory.base import Memory
from anchorweave.perception.base import DepthNotFoundError, Perception

# (first frame [3, H, W], retrieved, seed) -> video [T, 3, H, W] in [0, 1]
Generate = Callable[[Tensor, Retrieved, int], Tensor]


@dataclass(frozen=True)
class Segment:
    """One generated segment: its number, its frames with cameras, and what was retrieved for it."""

    number: int
    clip: Clip
    retrieved: Retrieved


class World:
    """A memory with a generator: generates unseen views and remembers what it generated.

    Args:
        memory: a memory system.
        perception: depth for frames of known cameras.
        generate: an image-to-video model, as a function.
        unit: length of one scene unit in the unit of the cameras; see `scene_unit`.
    """

    def __init__(self, memory: Memory, perception: Perception, generate: Generate, unit: float):
        self.memory, self.perception = memory, perception
        self.generate, self.unit = generate, unit

    def imagine(
        self,
        first: Float[Tensor, "3 H W"],
        cameras: Cameras,
        seed: int,
        generate: Generate | None = None,
    ) -> tuple[Float[Tensor, "T 3 H W"], Retrieved]:
        """Retrieves for T cameras, and generates what they see.

        Args:
            first: the frame that the first camera sees, in [0, 1].
            cameras: the target cameras [T].
            seed: seed of the sampling noise.
            generate: replaces the world's own model; None = the world's own.

        Returns:
            The video [T, 3, H, W] in [0, 1], and what was retrieved for it, with lengths in scene
            units.
        """
        retrieved = self.memory.retrieve(cameras).in_unit(self.unit)
        return (generate or self.generate)(first, retrieved, seed), retrieved

    def remember(self, clip: Clip) -> None:
        """Like the function `remember`, with the world's own memory and perception."""
        remember(self.memory, self.perception, clip)

    def rollout(
        self,
        last: Float[Tensor, "3 H W"],
        cameras: Cameras,
        length: int,
        seed: int,
        start: int = 0,
        recall: Callable[[], Tensor] | None = None,
        each: Sequence[Generate] | None = None,
    ) -> Iterator[Segment]:
        """Generates a long trajectory: each segment starts from the last frame of the previous one.

        Args:
            last: the newest frame, seen from camera `start * (length - 1)`.
            cameras: the whole trajectory, segments * (length - 1) + 1 cameras.
            length: frames T of a segment; neighbours share one frame.
            seed: segment i is sampled with seed + i, so it does not matter where a run resumed.
            start: number of the first segment to generate.
            recall: returns the newest remembered frame; None = take it from the video. Memory
                rounds colours to 8 bits, so a resumable run must recall it.
            each: one model per segment, for instance for different prompts; None = the world's own
                for all.

        Yields:
            Each segment, before it is remembered, so that what the caller writes about it is kept
            even if the run is killed while remembering. Its clip holds only the new frames, without
            the shared first one.

        Raises:
            ValueError: a trajectory that is not a whole number of segments.
        """
        steps = length - 1
        if len(cameras) < 2 or (len(cameras) - 1) % steps:
            raise ValueError(
                f"a trajectory of {len(cameras)} cameras is not a whole number of segments of "
                f"{length} frames; it needs k * {steps} + 1 cameras"
            )
        for number in range(start, (len(cameras) - 1) // steps):
            target = cameras[number * steps : number * steps + length]
            video, retrieved = self.imagine(last, target, seed + number, each and each[number])
            clip = Clip(
                frames=video[1:],
                depth=torch.zeros(steps, *target.size),
                cameras=target[1:],
                names=tuple(f"segment {number}, frame {i}" for i in range(1, length)),
            )
            yield Segment(number, clip, retrieved)
            self.remember(clip)
            last = recall() if recall else video[-1]


def remember(memory: Memory, perception: Perception, clip: Clip) -> None:
    """Estimates the depth that memory does not provide, and remembers the frames.

    If nothing can be estimated (the camera only rotated, away from everything seen so far), the
    frames are remembered without new depth, with a warning: they are stored, but later cameras see
    nothing of them.

    Args:
        memory: stores them.
        perception: estimates their depth.
        clip: frames without depth, in the world of the memory.
    """
    known = memory.known_depth(clip.cameras)
    try:
        clip = perception(clip, known)
    except DepthNotFoundError as error:
        warnings.warn(f"remembered without new depth: {error}", stacklevel=2)
        clip = replace(clip, depth=known)
    memory.update(clip)


def scene_unit(depth: Float[Tensor, "H W"]) -> float:
    """The median valid depth: the unit of length for poses, independent of a scene's scale.

    Not given in the paper.

    Raises:
        ValueError: no valid depth.
    """
    valid = depth[depth > 0]
    if not len(valid):
        raise ValueError("the first frame has no valid depth, so the scene has no scale")
    return valid.median().item()
