"""RecordingConfig: overrides for what a recording leaves out or states wrongly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Order = Literal["auto", "listed", "numbers"]
# Nobody stores depth in steps of a hundred units; such a value is the step length instead.
FEWEST_STEPS = 0.01


@dataclass(frozen=True)
class RecordingConfig:
    """How a recording's files are read; null = as the recording or its format states.

    Args:
        depth_scale: depth map steps per unit of the poses, overriding the recording or its format:
            1000 for millimetres with poses in metres, 5000 for TUM RGB-D, 6553.5 for ICL-NUIM and
            others. For depth in floats (.npy): depth units per unit of the poses.
        intrinsics: fx, fy, cx, cy in pixels of the stored images, for all frames, overriding the
            recording's.
        field_of_view: horizontal field of view of the images in degrees, if the focal length is
            unknown: for a photograph without EXIF data, or as an initial value for reconstructing
            plain footage.
        min_confidence: predicted depth with a lower confidence is dropped, in the network's own
            units.
        order: order of the frames of a transforms.json: `listed`, as listed; `numbers`, by the
            numbers in their paths; `auto`, by number if the paths differ only in one number and the
            list is shuffled, else as listed.

    Raises:
        ValueError: a scale or focal length that is not positive, not exactly four intrinsics, or an
            impossible field of view.
    """

    depth_scale: float | None = None
    intrinsics: tuple[float, ...] | None = None
    order: Order = "auto"
    field_of_view: float | None = None
    min_confidence: float | None = None

    def __post_init__(self):
        scale = self.depth_scale
        if scale is not None and not FEWEST_STEPS <= scale < math.inf:
            raise ValueError(
                f"recording.depth_scale={scale}: must be the number of depth steps per unit of the "
                f"poses, finite and at least {FEWEST_STEPS} (millimetres and metres: 1000)"
            )
        given = self.intrinsics
        if given is not None and not (
            len(given) == 4 and all(map(math.isfinite, given)) and min(given[:2]) > 0
        ):
            raise ValueError(
                f"recording.intrinsics={list(given)}: must be fx, fy, cx, cy in pixels of the "
                "stored images, such as [525,525,320,240]"
            )

        if self.field_of_view is not None and not 0 < self.field_of_view < 180:
            raise ValueError(
                f"recording.field_of_view={self.field_of_view}: must be in degrees, above 0 and "
                "below 180 (a phone's main camera: about 65 across the longer side)"
            )

    def focal_of(self, size: tuple[int, int]) -> float | None:
        """Focal length in pixels of images of `size` (height, width), if `field_of_view` is set."""
        if self.field_of_view is None:
            return None
        return size[1] / 2 / math.tan(math.radians(self.field_of_view) / 2)

    def depth_unit(self, stated: float) -> float:
        """Length of one depth step in the unit of the poses, where the format says `stated`."""
        return stated if self.depth_scale is None else 1 / self.depth_scale

    def refused(self, where: object, *names: str, why: str) -> None:
        """Rejects options that do not apply to this recording.

        Raises:
            ValueError: one of `names` is set.
        """
        for name in names:
            if getattr(self, name) is not None:
                raise ValueError(f"{where}: recording.{name} is set, but {why}; remove it")


AS_STATED = RecordingConfig()
