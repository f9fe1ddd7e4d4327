"""transforms.json: instant-ngp, nerfstudio, DL3DV, our example data and our memory banks.

`transform_matrix` is camera-to-world with OpenGL axes (y up, z backward); `depth_file_path` names
a uint16 map in steps of `depth_unit_scale_factor` (instant-ngp: `depth_path`,
`integer_depth_scale`); `mask_path` names an image that is black on moving objects.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anchorweave.clip import Clip
from anchorweave.files import atomic_write
from anchorweave.geometry.cameras import Cameras, intrinsics
from anchorweave.images import write_depth, write_frame
from anchorweave.recordings.base import posed_cameras
from anchorweave.recordings.config import AS_STATED, RecordingConfig
from anchorweave.recordings.frame_order import frame_order
from anchorweave.recordings.image_files import ImageFiles
from anchorweave.recordings.listed_images import ListedImage, listed_images, sizes_of_K
from anchorweave.recordings.listing import Missing, inside, usable
from anchorweave.recordings.transforms_json import (
    depth_path,
    depth_unit,
    finite_number,
    read_meta,
)
from anchorweave.recordings.undistort import Lens, seen_window, undistorted

TRANSFORMS = "transforms.json"
# Flips y and z: its own inverse, so it converts both ways.
OPENGL = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))
DEPTH_UNIT = 1e-3
# Fraction of a resampled pixel that must be opaque: all of it, up to rounding.
SEEN = 0.999
PERSPECTIVE = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "RADIAL", "SIMPLE_RADIAL")


class NerfstudioFiles(ImageFiles):
    """Image files taken through one or several lenses; distortion is removed on reading.

    Args:
        native: cameras [T] of the stored image files; `cameras` are those of the window in which
            every undistorted pixel was actually seen.
        lenses: T lenses.
        **files: the other arguments of `ImageFiles`.
    """

    def __init__(self, native: Cameras, lenses: list[Lens], **files):
        super().__init__(cameras=native, **files)
        distinct = {
            (lens, tuple(K.flatten().tolist())): (lens, native[i])
            for i, (lens, K) in enumerate(zip(lenses, native.K, strict=True))
            if lens != Lens()
        }
        top, left, size = seen_window(distinct.values()) if distinct else (0, 0, native.size)
        self.lenses, self.cameras = lenses, native.cropped(top, left, size)
        self._rows, self._columns = slice(top, top + size[0]), slice(left, left + size[1])

    def frame(self, i: int) -> Float[Tensor, "3 H W"]:
        """Colours of frame `i` [3, H, W] in [0, 1], undistorted."""
        return self._pinhole(super().frame(i), i, "bilinear")

    def depth(self, i: int) -> Float[Tensor, "H W"]:
        """Depth of frame `i` [H, W], undistorted; 0 = invalid."""
        return self._pinhole(super().depth(i)[None], i, "nearest")[0]

    def static(self, i: int) -> Bool[Tensor, "H W"] | None:
        """Which pixels of the undistorted frame `i` may be remembered [H, W]; None = all."""
        static = super().static(i)
        # A pixel mixed from opaque and transparent ones has a meaningless colour.
        return (
            None if static is None else self._pinhole(static[None].float(), i, "bilinear")[0] > SEEN
        )

    def _pinhole(self, image: Tensor, i: int, mode: str) -> Tensor:
        if self.lenses[i] != Lens():
            image = undistorted(image, self.lenses[i], self.stored[i], mode)
        return image[:, self._rows, self._columns].contiguous()


def open_nerfstudio(
    file: Path,
    missing: Missing = "error",
    options: RecordingConfig = AS_STATED,
    origin: tuple[float, float, float] | None = None,
) -> NerfstudioFiles:
    """Opens the recording that a transforms.json describes.

    Args:
        file: the json file; image paths are relative to its folder and must stay inside it.
        missing: how to treat listed frames whose files do not exist.
        options: values that override what the json states.
        origin: see `posed_cameras`.

    Raises:
        FileNotFoundError: listed files that do not exist, unless `missing` is "skip".
        ValueError: invalid json, no frames, a value of the wrong type, a path outside the folder, a
            file listed twice, images of several sizes, or an invalid pose or K.
    """
    meta = read_meta(file)
    listed = [frame["file_path"] for frame in meta["frames"]]
    frames = [meta["frames"][i] for i in frame_order(file, listed, options.order)]
    images = listed_images(file, [frame["file_path"] for frame in frames])
    # instant-ngp's flag to ignore listed depth.
    use_depth = meta.get("enable_depth_loading", True)
    depths = [_path(file, depth_path(_at(file, f), f)) if use_depth else None for f in frames]
    masks = [_path(file, frame.get("mask_path")) for frame in frames]
    _check_distinct(file, images, [image.file for image in images])
    _check_distinct(file, images, depths)
    usable_frames = usable(
        file, [i.name for i in images], _problems(images, depths, masks), missing
    )
    images = [images[i] for i in usable_frames]
    common = {key: value for key, value in meta.items() if key != "frames"}
    entries = [common | frames[i] for i in usable_frames]
    size, sizes = sizes_of_K(file, images, entries)
    unit = depth_unit(str(file), meta)
    depths = [depths[i] for i in usable_frames] if any(depths) else []
    if depths and unit is None and options.depth_scale is None:
        if "depth_path" in frames[usable_frames[0]]:
            raise ValueError(
                f"{file}: lists depth_path, but no integer_depth_scale, the length of one step; "
                "add it, or set recording.depth_scale"
            )
    if not depths:
        options.refused(file, "depth_scale", why="it lists no depth")
    names = [image.name for image in images]
    if options.intrinsics is None:
        zipped = zip(names, entries, sizes, strict=True)
        K = torch.stack([_K(file, name, entry, of_K, size) for name, entry, of_K in zipped])
    else:
        K = intrinsics(*options.intrinsics).repeat(len(names), 1, 1)
    c2w = torch.stack([_c2w(file, name, e) for name, e in zip(names, entries, strict=True)])
    return NerfstudioFiles(
        native=posed_cameras(file, names, c2w, K, size, origin),
        lenses=[_lens(file, name, e) for name, e in zip(names, entries, strict=True)],
        path=file.parent,
        names=names,
        images=[image.file for image in images],
        depths=depths,
        depth_unit=options.depth_unit(DEPTH_UNIT if unit is None else unit),
        masks=[masks[i] for i in usable_frames] if any(masks) else [],
        unit_stated=unit is not None or options.depth_scale is not None,
    )


def frame_entry(camera: Cameras, image: str, depth: str | None = None) -> dict:
    """An entry of `frames` for one camera, with its pose in the recording's coordinates.

    `image` and `depth` are relative paths.
    """
    (fx, _, cx), (_, fy, cy), _ = camera.K.double().tolist()
    entry = (
        {"file_path": image} if depth is None else {"file_path": image, "depth_file_path": depth}
    )
    entry |= {"fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, "w": camera.size[1], "h": camera.size[0]}
    return entry | {
        "transform_matrix": (camera.recorded_c2w @ OPENGL.to(camera.c2w.device)).tolist()
    }


def write_transforms(entries: list[dict], path: Path, depth_unit: float = DEPTH_UNIT) -> None:
    """Writes `entries` as the transforms.json of folder `path`."""
    meta = {"depth_unit_scale_factor": depth_unit, "frames": entries}
    with atomic_write(path / TRANSFORMS) as aside:
        aside.write_text(json.dumps(meta, indent=1))


def write_recording(
    clip: Clip, path: str | Path, depth_unit: float = DEPTH_UNIT, suffix: str = ".png"
) -> None:
    """Writes `clip` as a new folder `path`, readable by `open_recording` and nerfstudio's tools.

    Args:
        clip: frames, cameras and depth; depth that is 0 everywhere is not written.
        path: a folder that does not exist yet.
        depth_unit: length of one uint16 step, in the unit of the poses.
        suffix: image suffix: ".png" is lossless, ".jpg" small.

    Raises:
        FileExistsError: `path` exists.
        ValueError: depth out of the 16-bit range of this unit.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path}: exists; remove it or choose another folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    has_depth = bool((clip.depth > 0).any())
    with atomic_write(path) as aside:
        for folder in ["images", "depth"] if has_depth else ["images"]:
            (aside / folder).mkdir(parents=True)
        entries = []
        for i in range(len(clip)):
            image = f"images/{i:06d}{suffix}"
            depth = f"depth/{i:06d}.png" if has_depth else None
            write_frame(clip.frames[i], aside / image)
            if depth is not None:
                write_depth(clip.depth[i], depth_unit, aside / depth)
            entries.append(frame_entry(clip.cameras[i], image, depth))
        write_transforms(entries, aside, depth_unit)


def _at(file: Path, frame: dict) -> str:
    return f"{file}, frame {frame['file_path']}"


def _path(file: Path, name: str | None) -> Path | None:
    return None if name is None else inside(file, name)


def _problems(images, depths, masks) -> list[str | None]:
    """What each frame is missing, or None."""
    extras = {"depth_file_path": depths, "mask_path": masks}
    extras = {key: files for key, files in extras.items() if any(files)}
    problems: list[str | None] = []
    for i, image in enumerate(images):
        problem = None if image.file.is_file() else "the image does not exist"
        for key, files in extras.items():
            if problem is None and files[i] is None:
                problem = f"no {key}, although other frames have one"
            elif problem is None and not files[i].is_file():
                problem = f"its {key.partition('_')[0]} {files[i].name} does not exist"
        problems.append(problem)
    return problems


def _check_distinct(file: Path, images: list[ListedImage], files: list[Path | None]) -> None:
    first: dict[Path, ListedImage] = {}
    for image, path in zip(images, files, strict=True):
        if path is not None and first.setdefault(path, image) is not image:
            raise ValueError(
                f"{file}: frames {first[path].name} and {image.name} both use "
                f"{path.relative_to(file.parent)}; list each frame once, with its own files"
            )


def _K(file: Path, name: str, entry: dict, of_K: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """K for an image of `size`, from an entry that gives it for an image of `of_K`."""
    height, width = of_K
    where = f"{file}, frame {name}"
    if "fl_x" in entry:
        fx = finite_number(where, entry, "fl_x")
    elif "camera_angle_x" in entry:
        angle = finite_number(where, entry, "camera_angle_x")
        if not 0 < angle < math.pi:
            raise ValueError(f"{where}: camera_angle_x is {angle}, expected radians in (0, pi)")
        fx = width / 2 / math.tan(angle / 2)
    else:
        raise ValueError(f"{where}: has neither fl_x nor camera_angle_x")
    fy = finite_number(where, entry, "fl_y", fx)
    cx, cy = (finite_number(where, entry, *at) for at in (("cx", width / 2), ("cy", height / 2)))
    x, y = size[1] / width, size[0] / height
    return intrinsics(x * fx, y * fy, x * cx, y * cy)


def _c2w(file: Path, name: str, entry: dict) -> Tensor:
    try:
        matrix = torch.tensor(entry["transform_matrix"], dtype=torch.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file}, frame {name}: transform_matrix is not a matrix") from error
    if matrix.shape != (4, 4):
        raise ValueError(
            f"{file}, frame {name}: transform_matrix is {tuple(matrix.shape)}, expected (4, 4)"
        )
    return matrix @ OPENGL


def _lens(file: Path, name: str, entry: dict) -> Lens:
    model = entry.get("camera_model", "OPENCV")
    if model not in PERSPECTIVE or entry.get("is_fisheye"):
        raise ValueError(
            f"{file}, frame {name}: camera model {model} (is_fisheye "
            f"{entry.get('is_fisheye', False)}) is not supported; undistort to OPENCV or PINHOLE"
        )
    where = f"{file}, frame {name}"
    return Lens(**{key: finite_number(where, entry, key, 0.0) for key in Lens.__dataclass_fields__})
