"""A recording whose frames are image files, one per camera."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anchorweave.geometry.cameras import Cameras, intrinsics_problem
from anchorweave.geometry.projection import pixel_centres
from anchorweave.images import about_orientation, read_frame, read_mask, read_opaque
from anchorweave.recordings.base import Recording
from anchorweave.recordings.depth_files import check_depth_unit, read_depth_file


class ImageFiles(Recording):
    """Image files, with or without depth maps.

    Args:
        path: the recording's folder.
        names: T names.
        cameras: [T], at the size of the images.
        images: T image files.
        depths: T depth maps, or none.
        depth_unit: length of one step of a depth map, in the unit of the poses.
        depth_K: intrinsics [3, 3] of the depth maps, if they come from a separate camera at the
            same place (ScanNet); None = they cover the same view as the images, at any resolution.
        masks: T masks, 0 on moving objects, covering the same view as the images; or none.
        unit_stated: whether the recording itself states `depth_unit`, or only its format.

    Raises:
        ValueError: mismatched counts, or an implausible depth unit.
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
        masks: Sequence[Path] = (),
        unit_stated: bool = True,
    ):
        counts = {"names": len(names), "images": len(images), "cameras": len(cameras)}
        if depths:
            counts["depths"] = len(depths)
        if masks:
            counts["masks"] = len(masks)
        if len(set(counts.values())) != 1:
            raise ValueError(f"{path}: counts differ: {counts}; each frame needs one of each")
        self.path, self.names, self.cameras = path, tuple(names), cameras
        # What the files hold; a reader that undistorts shows less of it.
        self.stored = cameras
        self.images, self.depths, self.masks = tuple(images), tuple(depths), tuple(masks)
        self.depth_unit, self.depth_K = check_depth_unit(path, depth_unit), depth_K
        self.unit_stated = unit_stated
        self.has_depth = bool(depths)

    def files(self) -> list[Path]:
        """Images, depth maps and masks."""
        return [*self.images, *self.depths, *self.masks]

    def frame(self, i: int) -> Float[Tensor, "3 H W"]:
        """Colours of frame `i` [3, H, W] in [0, 1].

        Raises:
            ValueError: an unreadable image, or one whose size differs from its camera's.
        """
        frame = read_frame(self.images[i])
        check_size(self.images[i], tuple(frame.shape[1:]), self.stored.size)
        return frame

    def depth(self, i: int) -> Float[Tensor, "H W"]:
        """Depth of frame `i` [H, W] at the size of its image; 0 = invalid.

        Raises:
            ValueError: the recording holds no depth, or a map is unreadable or of a size that does
                not fit the image or its K.
        """
        if not self.has_depth:
            return super().depth(i)
        file = self.depths[i]
        depth = read_depth_file(file, self.depth_unit, self.unit_stated)
        size = tuple(depth.shape)
        if self.depth_K is None:
            check_aspect(file, "depth map", size, self.stored.size)
        elif problem := intrinsics_problem(self.depth_K, size):
            raise ValueError(f"{file}: {problem}")
        return depth_in_image(depth, self.stored[i], self.depth_K)

    def static(self, i: int) -> Bool[Tensor, "H W"] | None:
        """Where frame `i` is opaque and static [H, W]; None = everywhere.

        Raises:
            ValueError: an unreadable image or mask, or a mask of another aspect.
        """
        opaque = read_opaque(self.images[i])
        if not self.masks:
            return opaque
        mask = read_mask(self.masks[i])
        check_aspect(self.masks[i], "mask", tuple(mask.shape), self.stored.size)
        still = depth_in_image(mask.float(), self.stored[i]) > 0
        return still if opaque is None else still & opaque


def check_size(image: Path, met: tuple[int, int], stated: tuple[int, int]) -> None:
    """Rejects an image whose (height, width) differs from the size its intrinsics are for.

    Raises:
        ValueError: they differ.
    """
    if met != stated:
        raise ValueError(
            f"{image}: is {met[0]}x{met[1]} (height x width), but its K is for images of "
            f"{stated[0]}x{stated[1]}; resize the image, or rescale K{about_orientation(image)}"
        )


def check_aspect(file: Path, what: str, met: tuple[int, int], image: tuple[int, int]) -> None:
    """Rejects a map (height, width) that cannot cover the same view as its image.

    Sizes may differ by one factor, each side rounded by less than a pixel.

    Raises:
        ValueError: the sizes have different aspects; the message names both.
    """
    low, high = (
        max((m - 1) / i for m, i in zip(met, image, strict=True)),
        min((m + 1) / i for m, i in zip(met, image, strict=True)),
    )
    if met != image and low >= high:
        turned = ", as if rotated by 90 degrees" if met == image[::-1] else ""
        raise ValueError(
            f"{file}: the {what} is {met[0]}x{met[1]} (height x width) and its image "
            f"{image[0]}x{image[1]}{turned}; a map of another aspect does not cover the image's "
            "view: rotate, crop or register it (ScanNet: intrinsic/intrinsic_depth.txt)"
        )


def depth_in_image(
    depth: Float[Tensor, "h w"], camera: Cameras, depth_K: Float[Tensor, "3 3"] | None = None
) -> Float[Tensor, "H W"]:
    """A depth map of another size or K, resampled (nearest) to the pixels of its image."""
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
