"""Clip: frames, depth and cameras of a part of a video, kept together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anchorweave.geometry.cameras import Cameras, join_cameras


@dataclass(frozen=True)
class Clip:
    """A clip of posed video.

    Args:
        frames: colours [T, 3, H, W] in [0, 1].
        depth: z along the optical axis [T, H, W], in the unit of `cameras`; 0 = unknown.
        cameras: one per frame, [T], of image size (H, W).
        names: name of each frame in its recording, T of them, for reports.
        static: [T, H, W], False on moving objects, which are kept out of memory; None = all static
            (paper appendix F).
        sparse: depth [T, H, W] of the sparse points of structure from motion, 0 at most pixels;
            None = none. It fixes the scale of estimated depth, and is never remembered.

    Raises:
        ValueError: frames, depth, cameras, names, static or sparse differ in count or size.
    """

    frames: Float[Tensor, "T 3 H W"]
    depth: Float[Tensor, "T H W"]
    cameras: Cameras
    names: tuple[str, ...]
    static: Bool[Tensor, "T H W"] | None = None
    sparse: Float[Tensor, "T H W"] | None = None

    def __post_init__(self):
        T, _, H, W = self.frames.shape
        counts = {
            "depth": len(self.depth),
            "cameras": len(self.cameras),
            "names": len(self.names),
            "static": T if self.static is None else len(self.static),
            "sparse": T if self.sparse is None else len(self.sparse),
        }
        if wrong := {what: n for what, n in counts.items() if n != T}:
            raise ValueError(f"a clip of {T} frames came with {wrong}; counts must agree")
        sizes = {
            "depth": tuple(self.depth.shape[1:]),
            "cameras": tuple(self.cameras.size),
            "static": (H, W) if self.static is None else tuple(self.static.shape[1:]),
            "sparse": (H, W) if self.sparse is None else tuple(self.sparse.shape[1:]),
        }
        if wrong := {what: size for what, size in sizes.items() if size != (H, W)}:
            raise ValueError(
                f"frames are {H}x{W} (height x width) but {wrong}; "
                "resize images, depth and cameras together"
            )

    def __len__(self) -> int:
        return len(self.frames)

    def to(self, device: torch.device | str) -> Clip:
        """The same clip on another device."""
        return replace(
            self,
            frames=self.frames.to(device),
            depth=self.depth.to(device),
            cameras=self.cameras.to(device),
            static=None if self.static is None else self.static.to(device),
            sparse=None if self.sparse is None else self.sparse.to(device),
        )

    @property
    def static_depth(self) -> Float[Tensor, "T H W"]:
        """Depth [T, H, W] of static objects; 0 on moving ones."""
        return self.depth if self.static is None else torch.where(self.static, self.depth, 0.0)

    def __getitem__(self, index: slice | Sequence[int]) -> Clip:
        """The frames selected by a slice or a list of positions, as a clip."""
        picked = range(len(self))[index] if isinstance(index, slice) else index
        return replace(
            self,
            frames=self.frames[index],
            depth=self.depth[index],
            cameras=self.cameras[index],
            names=tuple(self.names[i] for i in picked),
            static=None if self.static is None else self.static[index],
            sparse=None if self.sparse is None else self.sparse[index],
        )


def join_clips(parts: Sequence[Clip]) -> Clip:
    """Concatenates the clips of `parts` in time.

    Raises:
        ValueError: parts of different image sizes.
    """
    static = sparse = None
    if any(part.static is not None for part in parts):
        every = [torch.ones_like(p.depth).bool() if p.static is None else p.static for p in parts]
        static = torch.cat(every)
    if any(part.sparse is not None for part in parts):
        known = [torch.zeros_like(p.depth) if p.sparse is None else p.sparse for p in parts]
        sparse = torch.cat(known)
    cameras = join_cameras([part.cameras for part in parts])
    return Clip(
        frames=torch.cat([part.frames for part in parts]),
        depth=torch.cat([part.depth for part in parts]),
        cameras=cameras,
        names=tuple(name for part in parts for name in part.names),
        static=static,
        sparse=sparse,
    )
