"""A recording whose frames are image files, one per camera."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.projection import pixel_centres
from anchorweave.images import read_depth, read_frame
from anchorweave.recordings.base import Recording


class ImageFiles(Recording):
    """Image files, with depth maps or without.

    Args:
        path: the recording's folder.
        names: T names.
        cameras: [T], at the size of the images.
        images: T image files.
        depths: T depth maps, or none.
        depth_unit: length of one step of a depth map, in the unit of the poses.
        depth_K: intrinsics [3, 3] of the depth maps, when they come from a camera of their own at
            the same place (ScanNet); None = they show what the images show, at any resolution.
    """

    def __init__(
        self,
        path: Path,
        names: Sequence[str],
        cameras: Cameras,
        images: Sequence[Path],
        depths: Sequence[Path] = (),
        depth_unit: float = 1e-3,
        depth_K: Float[Tensor, "3 3"] | None = None,
    ):
        counts = {"names": len(names), "images": len(images), "cameras": len(cameras)}
        if depths:
            counts["depths"] = len(depths)
        if len(set(counts.values())) != 1:
            raise ValueError(f"{path}: counts differ: {counts}; each frame needs one of each")
        self.path, self.names, self.cameras = path, tuple(names), cameras
        # What the files hold; a reader that undoes a lens shows less of it.
        self.stored = cameras
        self.images, self.depths = tuple(images), tuple(depths)
        self.depth_unit, self.depth_K = depth_unit, depth_K
        self.has_depth = bool(depths)

    def files(self) -> list[Path]:
        """Images and depth maps."""
        return [*self.images, *self.depths]

    def frame(self, i: int) -> Float[Tensor, "3 H W"]:
        """Colours of frame `i` [3, H, W] in [0, 1].

        Raises:
            ValueError: an unreadable image, or one of another size than its camera's.
        """
        frame = read_frame(self.images[i])
        check_size(self.images[i], tuple(frame.shape[1:]), self.stored.size)
        return frame

    def depth(self, i: int) -> Float[Tensor, "H W"]:
        """Depth of frame `i` [H, W] at the size of its image; 0 = invalid.

        Raises:
            ValueError: the recording holds no depth, or the file is unreadable.
        """
        if not self.has_depth:
            return super().depth(i)
        depth = read_depth(self.depths[i], self.depth_unit)
        return depth_in_image(depth, self.stored[i], self.depth_K)


def check_size(image: Path, met: tuple[int, int], stated: tuple[int, int]) -> None:
    """Refuse an image of another (height, width) than its intrinsics are stated for.

    Raises:
        ValueError: they differ.
    """
    if met != stated:
        raise ValueError(
            f"{image}: is {met[0]}x{met[1]} (height x width), but its K is for images of "
            f"{stated[0]}x{stated[1]}; resize the image, or rescale K"
        )


def depth_in_image(
    depth: Float[Tensor, "h w"], camera: Cameras, depth_K: Float[Tensor, "3 3"] | None = None
) -> Float[Tensor, "H W"]:
    """A depth map of another size or K than its image, as the image's pixels see it (nearest)."""
    if depth_K is None:
        if tuple(depth.shape) == camera.size:
            return depth
        depth_K = camera.resized(tuple(depth.shape)).K
    h, w = depth.shape
    image2depth = depth_K @ torch.linalg.inv(camera.K)
    x, y = pixel_centres(camera.size, depth).unbind(-1)
    column = (image2depth[0, 0] * x + image2depth[0, 2]).floor().long()
    row = (image2depth[1, 1] * y + image2depth[1, 2]).floor().long()
    inside = (column >= 0) & (column < w) & (row >= 0) & (row < h)
    sampled = depth[row.clamp(0, h - 1), column.clamp(0, w - 1)]
    return torch.where(inside, sampled, torch.zeros_like(sampled))
