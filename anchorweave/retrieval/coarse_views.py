"""CoarseViews: everything that retrieval reads from memories, about 20 kB each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.geometry.cameras import Cameras, join_cameras


@dataclass(frozen=True)
class CoarseViews:
    """M memories as small depth maps, oldest first.

    Args:
        depth: z along the optical axis [M, h, w], float32 on the CPU; 0 = invalid.
        cameras: their cameras [M], of image size (h, w).
        names: name of each memory's frame in its recording, M of them.

    Raises:
        ValueError: depth, cameras and names differ in number or size.
    """

    depth: Float[Tensor, "M h w"]
    cameras: Cameras
    names: tuple[str, ...]

    def __post_init__(self):
        counts = {
            "depth": len(self.depth),
            "cameras": len(self.cameras),
            "names": len(self.names),
        }
        if len(set(counts.values())) > 1:
            raise ValueError(f"every memory needs a depth map, a camera and a name, got {counts}")
        if tuple(self.depth.shape[1:]) != tuple(self.cameras.size):
            raise ValueError(
                f"depth maps are {tuple(self.depth.shape[1:])} but their cameras are of images of "
                f"{tuple(self.cameras.size)}; resize both together, as coarse_views does"
            )

    def __len__(self) -> int:
        return len(self.depth)


def coarse_size(size: tuple[int, int], downscale: int) -> tuple[int, int]:
    """(height, width) of an image of `size` downscaled by `downscale`, at least 1 x 1."""
    return max(round(size[0] / downscale), 1), max(round(size[1] / downscale), 1)


def coarse_views(
    depth: Float[Tensor, "T H W"], cameras: Cameras, names: Sequence[str], downscale: int
) -> CoarseViews:
    """The coarse views of T frames to be remembered.

    A coarse pixel takes the depth at its own centre: averaging would create points in mid-air
    between an object and its background.

    Args:
        depth: [T, H, W], in the unit of `cameras`; 0 = invalid.
        cameras: one per frame, of image size (H, W).
        names: one per frame.
        downscale: downscaling factor in each direction.

    Raises:
        ValueError: negative, NaN or infinite depth, or mismatched counts or sizes.
    """
    H, W = depth.shape[1:]
    if (H, W) != tuple(cameras.size):
        raise ValueError(f"depth is {H}x{W} but its cameras are of images of {cameras.size}")
    bad = ~((depth >= 0) & depth.isfinite()).flatten(1).all(dim=1)
    if bad.any():
        frame = int(bad.nonzero()[0])
        raise ValueError(
            f"depth of frame {frame} ({names[frame]}) has negative, NaN or infinite values; "
            "mark pixels without depth by 0"
        )
    h, w = coarse_size((H, W), downscale)
    row = ((torch.arange(h) + 0.5) * (H / h)).long()
    column = ((torch.arange(w) + 0.5) * (W / w)).long()
    small = depth.cpu().float()[:, row[:, None], column]
    return CoarseViews(small, cameras.to("cpu").resized((h, w)), tuple(names))


def join_coarse_views(parts: Sequence[CoarseViews]) -> CoarseViews:
    """Concatenates the memories of `parts`, oldest part first, which must share one size.

    This copies; a growing memory keeps its parts in a list and joins them when needed.

    Raises:
        ValueError: no parts, or parts of different sizes.
    """
    cameras = join_cameras([part.cameras for part in parts])
    names = tuple(name for part in parts for name in part.names)
    return CoarseViews(torch.cat([part.depth for part in parts]), cameras, names)
