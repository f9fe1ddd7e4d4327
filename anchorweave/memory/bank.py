"""Bank: remembered frames on disk, append-only, in a layout that other tools can open.

    BANK/transforms.json        nerfstudio's keys; `bank_version` is the layout's version, `source`
                                the frame's name in its recording, `sums` the checksums of its two
                                images and of its entry
    BANK/images/NNNNNN.png      colours, 8 bits
    BANK/depth/NNNNNN.png       uint16 steps of `depth_unit_scale_factor`, 0 = unknown

The list is renamed into place after the files it names (`bank_list.py`), so an interrupted write
loses at most the clip being added. Retrieval always reads back from disk, so a reopened bank
behaves like one that was kept open. An image whose checksum does not match is an error when it is
read.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.clip import Clip
from anchorweave.files import file_sum
from anchorweave.geometry.cameras import Cameras, join_cameras
from anchorweave.geometry.point_cloud import depth_edges
from anchorweave.images import read_depth, read_frame, write_depth, write_frame
from anchorweave.memory.bank_list import (
    ENTRY,
    SUMS,
    VERSION,
    cameras_of,
    depth_name,
    entry_sum,
    extend_list,
    image_name,
    read_list,
    write_list,
)
from anchorweave.progress import progress
from anchorweave.recordings.nerfstudio import TRANSFORMS, frame_entry

# 65535 marks invalid depth in many recordings, so it is not used.
DEPTH_STEPS = 65534
# The stored range is this many times the largest depth of the first clip.
DEPTH_HEADROOM = 8.0
FOLDERS = ("images", "depth")
# Number of files named in a message; the rest are only counted.
NAMED = 5


class Bank:
    """A folder of remembered frames, opened if it exists, created by the first append if not.

    Args:
        path: the folder.
        packed: whether pictures that are added are compressed; not worth it where the bank goes
            soon.

    Raises:
        FileNotFoundError: files that the bank lists are missing.
        ValueError: a damaged list, a bad pose, a layout of an unsupported version, or a recording
            that is not a bank.
    """

    def __init__(self, path: str | Path, packed: bool = True):
        self.path, self._packed = Path(path), packed
        self.depth_unit: float | None = None
        self.names: tuple[str, ...] = ()
        self._entries: list[dict] = []
        self._cameras: Cameras | None = None
        # Origin of the world that the cameras live in, fixed by the first clip, as everything
        # derived from them is relative to it. Listed poses are in the recording's own coordinates.
        self._origin = (0.0, 0.0, 0.0)
        self._version = VERSION
        # Size of the list when it was last read or written; None = no list.
        self._bytes: int | None = None
        if (self.path / TRANSFORMS).exists():
            self._open()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def cameras(self) -> Cameras:
        """The cameras [M] of all frames; an error if the bank is empty."""
        if self._cameras is None:
            raise ValueError(f"the memory bank {self.path} is empty")
        return self._cameras

    def frame(self, i: int) -> Float[Tensor, "3 H W"]:
        """Colours of memory `i` [3, H, W] in [0, 1].

        Raises:
            ValueError: the image is not the one that was written.
        """
        return read_frame(self._checked(i, "image"))

    def depth(self, i: int) -> Float[Tensor, "H W"]:
        """Depth of memory `i` [H, W]; 0 = unknown or moving.

        Raises:
            ValueError: the image is not the one that was written.
        """
        return read_depth(self._checked(i, "depth"), self.depth_unit)

    def clean_depth(self, i: int, edge: float) -> Float[Tensor, "H W"]:
        """Depth of memory `i` [H, W], set to 0 on both sides of relative steps above `edge`."""
        depth = self.depth(i)
        return torch.where(depth_edges(depth, edge), 0.0, depth)

    def depth_sum(self, i: int) -> str | None:
        """Checksum of the depth image of memory `i`; None if written by an earlier version."""
        return self._entries[i].get(SUMS, {}).get("depth")

    def problems(self) -> list[str]:
        """Problems with the images, one line each; reads all of them."""
        problems = []
        for i in progress(range(len(self)), "examining the memory bank"):
            for what, read in (("colours", self.frame), ("depth", self.depth)):
                try:
                    size = tuple(read(i).shape[-2:])
                except (ValueError, OSError) as error:
                    problems.append(str(error))
                    continue
                if size != self.cameras.size:
                    problems.append(
                        f"{self.path}: the {what} of frame {i} are {size} (height, width), its "
                        f"camera expects {self.cameras.size}"
                    )
        return problems

    @property
    def unsummed(self) -> int:
        """Number of frames without checksums, because an earlier version wrote them."""
        return sum(SUMS not in entry for entry in self._entries)

    def append(self, clip: Clip) -> None:
        """Adds the frames of `clip`.

        The depth step is chosen by the first clip: fine enough for its depths, with headroom for
        eight times as far; anything farther is stored as unknown.

        Raises:
            ValueError: frames of another size than the bank's, values that are not finite, or a
                bank that another run has written to since it was opened.
            OSError: the clip could not be written completely; the bank is unchanged.
        """
        if len(self) and clip.cameras.size != self.cameras.size:
            raise ValueError(
                f"the memory bank {self.path} holds frames of {self.cameras.size} (height, width), "
                f"got {clip.cameras.size}; use one size, or another memory.path"
            )
        parts = {"colours": clip.frames, "depth": clip.depth, "cameras": clip.cameras.c2w}
        if wrong := [name for name, values in parts.items() if not values.isfinite().all()]:
            raise ValueError(
                f"frames with {' and '.join(wrong)} that are not finite ({clip.names[0]} to "
                f"{clip.names[-1]}) are not remembered in {self.path}; it is as it was"
            )
        self._refuse_changed()
        unit = self.depth_unit or _depth_unit(clip.depth)
        for folder in FOLDERS:
            (self.path / folder).mkdir(parents=True, exist_ok=True)
        origin = self._origin if len(self) else clip.cameras.origin
        if self._bytes is None:
            # The folder is marked as a bank before anything else is written to it.
            self._bytes = write_list(self.path, [], unit, origin)
        added = []
        for i, name in progress(enumerate(clip.names), "remembering", len(clip)):
            image, depth = image_name(len(self) + i), depth_name(len(self) + i)
            valid = clip.depth[i]
            if clip.static is not None:
                valid = torch.where(clip.static[i], valid, 0.0)
            valid = torch.where(valid <= DEPTH_STEPS * unit, valid, 0.0)
            write_frame(clip.frames[i], self.path / image, self._packed)
            write_depth(valid, unit, self.path / depth, self._packed)
            sums = {"image": file_sum(self.path / image), "depth": file_sum(self.path / depth)}
            entry = {**frame_entry(clip.cameras[i], image, depth), "source": name, SUMS: sums}
            sums[ENTRY] = entry_sum(entry, unit)
            added.append(entry)
        cameras = cameras_of(self.path, added, origin)
        self._refuse_changed()
        if len(self) and self._version == VERSION:
            self._bytes = extend_list(self.path, added)
        else:
            self._bytes = write_list(self.path, self._entries + added, unit, origin)
        self._version, self.depth_unit, self._origin = VERSION, unit, origin
        self._add(added, cameras)

    def _open(self) -> None:
        listed = read_list(self.path)
        self._version, self._bytes = listed.version, listed.bytes
        if listed.entries:
            self._refuse_incomplete(len(listed.entries))
            self.depth_unit, self._origin = listed.depth_unit, listed.origin
            self._add(listed.entries, cameras_of(self.path, listed.entries, listed.origin))

    def _add(self, entries: list[dict], cameras: Cameras) -> None:
        self._entries += entries
        self.names += tuple(entry.get("source", entry["file_path"]) for entry in entries)
        parts = [cameras] if self._cameras is None else [self._cameras, cameras]
        self._cameras = join_cameras(parts)

    def _checked(self, i: int, kind: str) -> Path:
        """A picture's path, after verifying its checksum."""
        entry = self._entries[i]
        path = self.path / entry["file_path" if kind == "image" else "depth_file_path"]
        wanted = entry.get(SUMS, {}).get(kind)
        if wanted is not None and (actual := file_sum(path)) != wanted:
            raise ValueError(
                f"{path} is not the picture that was remembered (its sum is {actual}, the list "
                f"says {wanted}); restore it, or begin another bank with memory.path="
            )
        return path

    def _refuse_changed(self) -> None:
        file = self.path / TRANSFORMS
        size = file.stat().st_size if file.exists() else None
        if size != self._bytes:
            raise ValueError(
                f"the memory bank {self.path} was written to by another run since this one opened "
                "it; one run at a time adds to a bank"
            )

    def _refuse_incomplete(self, count: int) -> None:
        """Lists the two folders, which is much faster than testing every file."""
        listed = {}
        for folder in FOLDERS:
            place = self.path / folder
            entries = list(os.scandir(place)) if place.is_dir() else []
            listed[folder] = {entry.name for entry in entries if entry.is_file()}
            links = [place, *(Path(entry) for entry in entries if entry.is_symlink())]
            for link in links:
                if not link.resolve().is_relative_to(self.path.resolve()):
                    raise ValueError(
                        f"{self.path}: {link.relative_to(self.path)} points outside the bank's "
                        f"folder (to {link.resolve()}); move the files inside"
                    )
        lost = [
            number
            for number in range(count)
            if not all(f"{number:06d}.png" in names for names in listed.values())
        ]
        if lost:
            examples = ", ".join(f"{number:06d}.png" for number in lost[:NAMED])
            more = ", ..." if len(lost) > NAMED else ""
            raise FileNotFoundError(
                f"the memory bank {self.path} lost files that it lists: {len(lost)} of {count} "
                f"frames lack their images/ or depth/ ({examples}{more}); restore them, or begin "
                "another bank with memory.path="
            )


def _depth_unit(depth: Tensor) -> float:
    """The smallest 1, 2 or 5 times a power of ten that leaves DEPTH_HEADROOM above `depth`."""
    farthest = depth.max().item() or 1.0
    smallest = farthest * DEPTH_HEADROOM / DEPTH_STEPS
    power = 10.0 ** math.floor(math.log10(smallest))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= smallest)
