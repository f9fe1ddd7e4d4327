"""transforms.json: instant-ngp, nerfstudio, DL3DV, our example data and our memory banks.

`transform_matrix` is camera-to-world with OpenGL axes (y up, z backward); `depth_file_path` names
a uint16 map in steps of `depth_unit_scale_factor`. Frames are ordered by the numbers in their file
names where every name has one, else as listed. Where images/ was left out and a smaller copy
images_2/, images_4/ ... lies in its place (DL3DV), that copy is read and K follows.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.clip import Clip
from anchorweave.files import written_aside
from anchorweave.geometry.cameras import Cameras, intrinsics
from anchorweave.images import (
    IMAGE_SUFFIXES,
    image_size,
    write_depth,
    write_frame,
)
from anchorweave.recordings.base import posed_cameras
from anchorweave.recordings.image_files import ImageFiles, check_size
from anchorweave.recordings.listing import Missing, inside, natural, usable
from anchorweave.recordings.transforms_json import finite_number, read_meta
from anchorweave.recordings.undistort import Lens, seen_window, undistorted

TRANSFORMS = "transforms.json"
# Flips y and z: its own inverse, so it converts both ways.
OPENGL = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))
DEPTH_UNIT = 1e-3
PERSPECTIVE = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "RADIAL", "SIMPLE_RADIAL")


class NerfstudioFiles(ImageFiles):
    """Image files behind one or several lenses, whose distortion is undone on reading.

    Args:
        native: cameras [T] of the image files as they are; `cameras` are those of the window in
            which every undistorted pixel was really seen.
        lenses: T lenses.
        **files: `path`, `names`, `images`, `depths`, `depth_unit` of `ImageFiles`.
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

    def _pinhole(self, image: Tensor, i: int, mode: str) -> Tensor:
        if self.lenses[i] != Lens():
            image = undistorted(image, self.lenses[i], self.stored[i], mode)
        return image[:, self._rows, self._columns].contiguous()


def open_nerfstudio(file: Path, missing: Missing = "error") -> NerfstudioFiles:
    """The recording that a transforms.json describes.

    Args:
        file: the json file; image paths are relative to its folder and may not leave it.
        missing: what to do about listed frames whose files do not exist.

    Raises:
        FileNotFoundError: listed files that do not exist, unless `missing` is "skip".
        ValueError: no valid json, no frames, a value of another type than expected, a path outside
            the folder, a pose or K that is wrong.
    """
    meta = read_meta(file)
    frames = meta["frames"]
    if all(any(c.isdigit() for c in Path(f["file_path"]).name) for f in frames):
        frames = sorted(frames, key=lambda f: natural(f["file_path"]))
    names = [frame["file_path"] for frame in frames]
    shrink = _shrink(file.parent)
    images = [inside(file, _copy(name, shrink), IMAGE_SUFFIXES) for name in names]
    depths = [
        inside(file, f["depth_file_path"]) if "depth_file_path" in f else None for f in frames
    ]
    some_depth = any(depths)
    problems = []
    for image, depth in zip(images, depths, strict=True):
        if not image.is_file():
            problems.append("the image does not exist")
        elif some_depth and depth is None:
            problems.append("no depth_file_path, though other frames have one")
        elif some_depth and not depth.is_file():
            problems.append(f"its depth {depth.name} does not exist")
        else:
            problems.append(None)
    kept = usable(file, names, problems, missing)
    entries = [{**{k: v for k, v in meta.items() if k != "frames"}, **frames[i]} for i in kept]
    names = [names[i] for i in kept]
    size = _size(file, names, entries, images[kept[0]], shrink)
    K = torch.stack([_K(file, name, e, size) for name, e in zip(names, entries, strict=True)])
    c2w = torch.stack([_c2w(file, name, e) for name, e in zip(names, entries, strict=True)])
    return NerfstudioFiles(
        native=posed_cameras(file, names, c2w, K, size).resized(image_size(images[kept[0]])),
        lenses=[_lens(file, name, e) for name, e in zip(names, entries, strict=True)],
        path=file.parent,
        names=names,
        images=[images[i] for i in kept],
        depths=[depths[i] for i in kept] if some_depth else [],
        depth_unit=finite_number(str(file), meta, "depth_unit_scale_factor", DEPTH_UNIT),
    )


def frame_entry(camera: Cameras, image: str, depth: str | None = None) -> dict:
    """One entry of `frames` for one camera; `image` and `depth` are relative paths."""
    (fx, _, cx), (_, fy, cy), _ = camera.K.double().tolist()
    entry = (
        {"file_path": image} if depth is None else {"file_path": image, "depth_file_path": depth}
    )
    entry |= {"fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, "w": camera.size[1], "h": camera.size[0]}
    return entry | {
        "transform_matrix": (camera.c2w.double() @ OPENGL.to(camera.c2w.device)).tolist()
    }


def write_transforms(entries: list[dict], path: Path, depth_unit: float = DEPTH_UNIT) -> None:
    """Write `entries` as the transforms.json of folder `path`."""
    meta = {"depth_unit_scale_factor": depth_unit, "frames": entries}
    with written_aside(path / TRANSFORMS) as aside:
        aside.write_text(json.dumps(meta, indent=1))


def write_recording(
    clip: Clip, path: str | Path, depth_unit: float = DEPTH_UNIT, suffix: str = ".png"
) -> None:
    """Write `clip` as a new folder `path` that `open_recording` and nerfstudio's tools can open.

    Args:
        clip: frames, cameras and depth; depth that is 0 everywhere is left out.
        path: a folder that does not exist yet.
        depth_unit: length of one uint16 step, in the unit of the poses.
        suffix: of the images: ".png" keeps them exactly, ".jpg" small.

    Raises:
        FileExistsError: `path` exists.
        ValueError: depth that 16 bits of this unit cannot hold.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path}: exists; remove it or choose another folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    has_depth = bool((clip.depth > 0).any())
    with written_aside(path) as aside:
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


def _shrink(folder: Path) -> int:
    """How many times smaller the images are than the json says: N of images_N/, or 1."""
    copies = [path.name.removeprefix("images_") for path in folder.glob("images_*")]
    factors = [int(name) for name in copies if name.isdigit()]
    return 1 if (folder / "images").exists() or not factors else min(factors)


def _copy(name: str, shrink: int) -> str:
    parts = Path(name).parts
    return f"images_{shrink}/{'/'.join(parts[1:])}" if shrink > 1 and parts[0] == "images" else name


def _size(
    file: Path, names: list[str], entries: list[dict], first: Path, shrink: int
) -> tuple[int, int]:
    """The (height, width) that the json's K is for, which `shrink` times the images must be."""
    height, width = image_size(first)
    default = (height * shrink, width * shrink)
    stated = []
    for name, entry in zip(names, entries, strict=True):
        where = f"{file}, frame {name}"
        sides = zip("hw", default, strict=True)
        stated.append(tuple(int(finite_number(where, entry, key, side)) for key, side in sides))
    for name, size in zip(names, stated, strict=True):
        check_size(file.parent / name, (height, width), (size[0] // shrink, size[1] // shrink))
    return stated[0]


def _K(file: Path, name: str, entry: dict, size: tuple[int, int]) -> Tensor:
    height, width = size
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
    return intrinsics(fx, fy, cx, cy)


def _c2w(file: Path, name: str, entry: dict) -> Tensor:
    try:
        matrix = torch.tensor(entry["transform_matrix"], dtype=torch.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file}, frame {name}: transform_matrix is no matrix") from error
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
