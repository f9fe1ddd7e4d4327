"""RecordingConfig: what a recording does not state, or states wrongly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Order = Literal["auto", "listed", "numbers"]
# Nobody stores depth in steps of a hundred units; such a value is the length of a step.
FEWEST_STEPS = 0.01


@dataclass(frozen=True)
class RecordingConfig:
    """How a recording's files are read; null = as the recording or its format states.

    Args:
        depth_scale: steps of a stored depth map in one unit of the poses, instead of what the
            recording or its format says: 1000 for millimetres and poses in metres, 5000 for TUM
            RGB-D, 6553.5 for ICL-NUIM and others. Of depth in floats (.npy): how many of its units
            make one of the poses'.
        intrinsics: fx, fy, cx, cy in pixels of the images as they are stored, for all frames,
            instead of the recording's.
        field_of_view: degrees that the images' width spans, where the focal length is unknown:
            of a photograph without EXIF data, or as a start for the cameras of plain footage.
        min_confidence: depth of predictions that is less sure than this is left out, in the
            network's own numbers.
        order: of the frames of a transforms.json: `listed`, as it lists them; `numbers`, by the
            numbers in their paths; `auto`, by the number if the paths differ in one number alone
            and the list is shuffled, else as listed.

    Raises:
        ValueError: a scale or focal length that is not above 0, no four intrinsics, or a field of
            view that no pinhole has.
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
                f"recording.depth_scale={scale}: is how many steps of depth make one unit of the "
                f"poses, finite and at least {FEWEST_STEPS} (millimetres and metres: 1000)"
            )
        given = self.intrinsics
        if given is not None and not (
            len(given) == 4 and all(map(math.isfinite, given)) and min(given[:2]) > 0
        ):
            raise ValueError(
                f"recording.intrinsics={list(given)}: are fx, fy, cx, cy in pixels of the stored "
                "images, such as [525,525,320,240]"
            )

        if self.field_of_view is not None and not 0 < self.field_of_view < 180:
            raise ValueError(
                f"recording.field_of_view={self.field_of_view}: is in degrees, above 0 and below "
                "180 (a phone's main camera: about 65 across the longer side)"
            )

    def focal_of(self, size: tuple[int, int]) -> float | None:
        """Focal length in pixels of images of `size` (height, width) by `field_of_view`, if any."""
        if self.field_of_view is None:
            return None
        return size[1] / 2 / math.tan(math.radians(self.field_of_view) / 2)

    def depth_unit(self, stated: float) -> float:
        """Length of one step of depth, in the unit of the poses, where the format says `stated`."""
        return stated if self.depth_scale is None else 1 / self.depth_scale

    def refused(self, where: object, *names: str, why: str) -> None:
        """Refuse options that this recording has no use for.

        Raises:
            ValueError: one of `names` is given.
        """
        for name in names:
            if getattr(self, name) is not None:
                raise ValueError(f"{where}: recording.{name} is given, but {why}; leave it out")


AS_STATED = RecordingConfig()
