"""EditedFrames: a bank's frames with some pixels replaced, before they are written as a new bank.

Only replaced pixels are kept in main memory, 24 bytes each, regardless of the bank's length.
"""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from anchorweave.clip import Clip
from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.point_cloud import depth_edges
from anchorweave.memory.bank import Bank
from anchorweave.progress import progress

# Frames decoded at once while writing.
WRITTEN_AT_ONCE = 32


class EditedFrames:
    """A bank's frames after edits; pixels are indexed in raster order.

    Args:
        bank: read only, never changed.
    """

    def __init__(self, bank: Bank):
        self.bank = bank
        self._replaced: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    def __len__(self) -> int:
        return len(self.bank)

    @property
    def cameras(self) -> Cameras:
        """The cameras [M] of all frames."""
        return self.bank.cameras

    def frame(self, i: int) -> Float[Tensor, "3 H W"]:
        """Colours of frame `i` [3, H, W] in [0, 1]."""
        frame = self.bank.frame(i)
        if i in self._replaced:
            pixels, colours, _ = self._replaced[i]
            frame = frame.clone(memory_format=torch.contiguous_format)
            frame.view(3, -1)[:, pixels] = colours.mT
        return frame

    def depth(self, i: int) -> Float[Tensor, "H W"]:
        """Depth of frame `i` [H, W]; 0 = unknown."""
        depth = self.bank.depth(i)
        if i in self._replaced:
            pixels, _, z = self._replaced[i]
            depth = depth.clone(memory_format=torch.contiguous_format)
            depth.view(-1)[pixels] = z
        return depth

    def clean_depth(self, i: int, edge: float) -> Float[Tensor, "H W"]:
        """Depth of frame `i` [H, W], set to 0 on both sides of relative steps above `edge`."""
        depth = self.depth(i)
        return torch.where(depth_edges(depth, edge), 0.0, depth)

    def replace(
        self,
        i: int,
        pixels: Int64[Tensor, " n"],
        colours: Float[Tensor, "n 3"],
        depth: Float[Tensor, " n"],
    ) -> None:
        """Replaces pixels of frame `i` by new colours in [0, 1] and depths, 0 = unknown."""
        frame, z = self.frame(i).reshape(3, -1).clone(), self.depth(i).reshape(-1).clone()
        frame[:, pixels], z[pixels] = colours.mT, depth
        if i in self._replaced:
            pixels = torch.cat([self._replaced[i][0], pixels]).unique()
        self._replaced[i] = (pixels, frame[:, pixels].mT.contiguous(), z[pixels])

    def write(self, path: Path) -> None:
        """Writes all frames as a new bank with the old one's depth step.

        Unedited frames are preserved bit for bit; edited depth beyond the range of the old step is
        stored as unknown.
        """
        written = Bank(path)
        written.depth_unit = self.bank.depth_unit
        for start in progress(range(0, len(self), WRITTEN_AT_ONCE), "writing the edited memory"):
            part = range(start, min(start + WRITTEN_AT_ONCE, len(self)))
            frames = torch.stack([self.frame(i) for i in part])
            depth = torch.stack([self.depth(i) for i in part])
            span = slice(part.start, part.stop)
            written.append(Clip(frames, depth, self.cameras[span], self.bank.names[span]))
