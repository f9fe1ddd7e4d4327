"""Context-as-Memory's data set: camera walks through Unreal Engine 5 scenes.

    ROOT/frames/SCENE/NNNN.png  ROOT/jsons/SCENE.json  ROOT/captions.txt  (ROOT/overlap_labels/)

The json's "CineCameraActor" holds, by frame number, `position` (x y z, centimetres) and `rotation`
(roll pitch yaw, degrees) in Unreal's axes: x forward, y right, z up, left-handed. Here they are
converted to metres and a right-handed frame. A line of captions.txt is
"SCENE/FIRST_LAST.mp4<tab>words". The lens is the paper's 24 mm; on Unreal's default filmback,
23.76 mm wide, its horizontal field of view is 52.67 degrees.

Source: Context-as-Memory, section 4.3; files and angles as third parties read them (the data set's
card does not document the axes, and no real file was available).
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.geometry.cameras import intrinsics
from anchorweave.images import image_size
from anchorweave.recordings.base import posed_cameras
from anchorweave.recordings.captions import Stretch
from anchorweave.recordings.config import AS_STATED, RecordingConfig
from anchorweave.recordings.image_files import ImageFiles
from anchorweave.recordings.listing import Missing, contained, one_file_each, usable
from anchorweave.recordings.reading import text_of

ACTOR = "CineCameraActor"
CENTIMETRES = 1e-2
# Focal length over filmback width, both in millimetres.
LENS = 24 / 23.76
CAPTION_LINE = re.compile(r"(?P<scene>[^/\s]+)/(?P<first>\d+)_(?P<last>\d+)\.mp4\s+(?P<words>.+)")


class Walk(ImageFiles):
    """The frames of one scene, with captions of frame ranges.

    Args:
        captions: the data set's captions.txt, if there is one.
        *files: the arguments of `ImageFiles`.
    """

    def __init__(self, captions: Path | None, *files):
        super().__init__(*files)
        self._captions = captions

    def stretches(self) -> list[Stretch]:
        """Captions of frame ranges, with positions among this recording's frames."""
        if self._captions is None:
            return super().stretches()
        position = {int(name): i for i, name in enumerate(self.names)}
        stretches = []
        for number, line in enumerate(text_of(self._captions).splitlines(), start=1):
            if not line.strip():
                continue
            if (match := CAPTION_LINE.fullmatch(line.strip())) is None:
                raise ValueError(
                    f"{self._captions}, line {number}: expected SCENE/FIRST_LAST.mp4 and words"
                )
            if match["scene"] == self.path.name:
                frames = range(int(match["first"]), int(match["last"]) + 1)
                if at := [position[frame] for frame in frames if frame in position]:
                    stretches.append(Stretch(at[0], at[-1], match["words"]))
        return stretches


def is_context_as_memory(folder: Path) -> bool:
    """Whether `folder` holds the frames of a scene."""
    return folder.parent.name == "frames" and _cameras_file(folder).is_file()


def _cameras_file(folder: Path) -> Path:
    return folder.parent.parent / "jsons" / f"{folder.name}.json"


def open_context_as_memory(
    folder: Path, missing: Missing = "error", options: RecordingConfig = AS_STATED
) -> Walk:
    """Opens a scene; `folder` is its frames/SCENE.

    Raises:
        FileNotFoundError: cameras without an image, unless `missing` is "skip".
        ValueError: unexpected file contents, or invalid poses.
    """
    options.refused(folder, "depth_scale", why="it holds no depth")
    root, file = folder.parent.parent, _cameras_file(folder)
    poses = _poses(contained(root, file))
    images = one_file_each(folder, folder.glob("*"), (".png",), lambda png: png.stem)
    by_frame = {int(stem): image for stem, image in images.items() if stem.isdigit()}
    frames = sorted(poses)
    listed = [f"{frame:04d}" for frame in frames]
    problems = [None if frame in by_frame else "no image" for frame in frames]
    usable_frames = usable(folder, listed, problems, missing)
    names = [listed[i] for i in usable_frames]
    files = [by_frame[frames[i]] for i in usable_frames]
    size = image_size(files[0])
    if options.intrinsics is not None:
        K = intrinsics(*options.intrinsics)
    else:
        focal = options.focal_of(size) or LENS * size[1]
        K = intrinsics(focal, focal, size[1] / 2, size[0] / 2)
    c2w = torch.stack([poses[frames[i]] for i in usable_frames])
    cameras = posed_cameras(file, names, c2w, K.repeat(len(usable_frames), 1, 1), size)
    captions = root / "captions.txt"
    captions = contained(root, captions) if captions.is_file() else None
    return Walk(captions, folder, names, cameras, files)


def _poses(file: Path) -> dict[int, Float[Tensor, "4 4"]]:
    try:
        entries = json.loads(text_of(file))[ACTOR]
        return {
            int(frame): _c2w(entry["position"], entry["rotation"])
            for frame, entry in entries.items()
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f'{file}: holds no "{ACTOR}" with position and rotation of each frame '
            f"({type(error).__name__}: {error})"
        ) from error


def _c2w(position: list, rotation: list) -> Float[Tensor, "4 4"]:
    """Camera-to-world with OpenCV axes, in a right-handed world: Unreal's, with y mirrored."""
    angles = torch.tensor(rotation, dtype=torch.float64).deg2rad()
    (sr, sp, sy), (cr, cp, cy) = angles.sin().tolist(), angles.cos().tolist()
    forward = [cp * cy, cp * sy, sp]
    right = [sr * sp * cy - cr * sy, sr * sp * sy + cr * cy, -sr * cp]
    up = [-(cr * sp * cy + sr * sy), cy * sr - cr * sp * sy, cr * cp]
    centre = torch.tensor(position, dtype=torch.float64) * CENTIMETRES
    axes = torch.tensor([right, up, forward], dtype=torch.float64).mT
    c2w = torch.eye(4, dtype=torch.float64)
    c2w[:3, :3] = axes * torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)
    c2w[:3, 3] = centre
    c2w[1] *= -1
    return c2w
