"""One photograph: a camera at the origin, with the focal length from EXIF data or the user."""

from __future__ import annotations

from pathlib import Path

import torch

from anchorweave.geometry.cameras import intrinsics
from anchorweave.images import exif_focal, image_size
from anchorweave.recordings.base import posed_cameras
from anchorweave.recordings.config import AS_STATED, RecordingConfig
from anchorweave.recordings.image_files import ImageFiles


def open_photo(file: Path, options: RecordingConfig = AS_STATED) -> ImageFiles:
    """Opens a photograph as a recording of one frame.

    Args:
        file: the image.
        options: `intrinsics`, or else `field_of_view`, take precedence over EXIF data.

    Raises:
        ValueError: not an image, or one with an unknown focal length.
    """
    options.refused(file, "depth_scale", why="a photograph holds no depth")
    height, width = size = image_size(file)
    if options.intrinsics is not None:
        K = intrinsics(*options.intrinsics)
    else:
        focal = options.focal_of(size) or exif_focal(file)
        if focal is None:
            raise ValueError(
                f"{file}: the photograph's focal length is unknown (no EXIF data); set "
                "recording.field_of_view= to its horizontal field of view in degrees (a phone's "
                "main camera: about 65 in landscape, 50 in portrait), or recording.intrinsics="
            )
        K = intrinsics(focal, focal, width / 2, height / 2)
    cameras = posed_cameras(file, [file.name], torch.eye(4)[None].double(), K[None], size)
    return ImageFiles(file, [file.name], cameras, [file])
