"""One photograph: a camera at the origin, with the focal length of its EXIF data or the user's."""

from __future__ import annotations

from pathlib import Path

import torch

from anchorweave.geometry.cameras import intrinsics
from anchorweave.images import exif_focal, image_size
from anchorweave.recordings.base import posed_cameras
from anchorweave.recordings.config import AS_STATED, RecordingConfig
from anchorweave.recordings.image_files import ImageFiles


def open_photo(file: Path, options: RecordingConfig = AS_STATED) -> ImageFiles:
    """The recording of one frame of a photograph.

    Args:
        file: the image.
        options: of which `intrinsics`, or else `field_of_view`, take precedence over EXIF data.

    Raises:
        ValueError: no image, or one of unknown focal length.
    """
    options.refused(file, "depth_scale", why="a photograph holds no depth")
    height, width = size = image_size(file)
    if options.intrinsics is not None:
        K = intrinsics(*options.intrinsics)
    else:
        focal = options.focal_of(size) or exif_focal(file)
        if focal is None:
            raise ValueError(
                f"{file}: nothing says the photograph's focal length (no EXIF data); set "
                "recording.field_of_view= to the degrees that its width spans (a phone's main "
                "camera: about 65 held wide, 50 upright), or recording.intrinsics="
            )
        K = intrinsics(focal, focal, width / 2, height / 2)
    cameras = posed_cameras(file, [file.name], torch.eye(4)[None].double(), K[None], size)
    return ImageFiles(file, [file.name], cameras, [file])
