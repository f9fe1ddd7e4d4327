"""Bank: remembered frames on disk, append-only, in a layout that other tools open as well.

    BANK/transforms.json        nerfstudio's keys; `bank_version` is this layout's, `source` what
                                a frame is called elsewhere, `sums` those of its two pictures
                                and of its entry
    BANK/images/NNNNNN.png      colours, 8 bits
    BANK/depth/NNNNNN.png       uint16 steps of `depth_unit_scale_factor`, 0 = unknown

The list is renamed into place after the files it names (`bank_list.py`), so a write that is cut off
loses at most the clip being added. What a memory retrieves is always read back from here: a bank
that is opened again cannot differ from the one that was kept open. A picture that is not the one
that was written, by its sum, is an error where it is read.
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

# 65535 marks an invalid depth in many recordings, so it is not used.
DEPTH_STEPS = 65534
# How many times the largest depth of the first clip can be stored.
DEPTH_HEADROOM = 8.0
FOLDERS = ("images", "depth")
# Files named in a message before the rest is only counted.
NAMED = 5


class Bank:
    """A folder of remembered frames, opened if it exists, created by the first append if not.

    Args:
        path: the folder.
        packed: whether pictures that are added are compressed; not worth it where the bank goes
            soon.

    Raises:
        FileNotFoundError: files that the bank lists are gone.
        ValueError: the folder's list is damaged, a frame has a bad pose, another version of this
            code wrote it in another layout, or it is a recording.
    """

    def __init__(self, path: str | Path, packed: bool = True):
        self.path, self._packed = Path(path), packed
        self.depth_unit: float | None = None
        self.names: tuple[str, ...] = ()
        self._entries: list[dict] = []
        self._cameras: Cameras | None = None
        # Of the world that its cameras are in, kept from the first clip on: all that was made of
        # them lies there. What is listed as poses is in the recording's own coordinates.
        self._origin = (0.0, 0.0, 0.0)
        self._version = VERSION
        # Of the list when it was last read or written; None = no list.
        self._bytes: int | None = None
        if (self.path / TRANSFORMS).exists():
            self._open()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def cameras(self) -> Cameras:
        """The cameras [M] of all frames; an empty bank has none to give."""
        if self._cameras is None:
            raise ValueError(f"the memory bank {self.path} is empty")
        return self._cameras

    def frame(self, i: int) -> Float[Tensor, "3 H W"]:
        """Colours of memory `i` [3, H, W] in [0, 1].

        Raises:
            ValueError: not the picture that was written.
        """
        return read_frame(self._checked(i, "image"))

    def depth(self, i: int) -> Float[Tensor, "H W"]:
        """Depth of memory `i` [H, W]; 0 = unknown, or a moving thing.

        Raises:
            ValueError: not the picture that was written.
        """
        return read_depth(self._checked(i, "depth"), self.depth_unit)

    def clean_depth(self, i: int, edge: float) -> Float[Tensor, "H W"]:
        """Depth of memory `i` [H, W]; 0 as well on both sides of a relative step above `edge`."""
        depth = self.depth(i)
        return torch.where(depth_edges(depth, edge), 0.0, depth)

    def depth_sum(self, i: int) -> str | None:
        """The sum of the depth picture of memory `i`; None where an earlier version wrote it."""
        return self._entries[i].get(SUMS, {}).get("depth")

    def problems(self) -> list[str]:
        """What is wrong with the pictures, one line each; reads all of them."""
        found = []
        for i in progress(range(len(self)), "examining the memory bank"):
            for what, read in (("colours", self.frame), ("depth", self.depth)):
                try:
                    met = tuple(read(i).shape[-2:])
                except (ValueError, OSError) as error:
                    found.append(str(error))
                    continue
                if met != self.cameras.size:
                    found.append(
                        f"{self.path}: the {what} of frame {i} are {met} (height, width), its "
                        f"camera is of {self.cameras.size}"
                    )
        return found

    @property
    def unsummed(self) -> int:
        """Frames of which no sums were kept, because an earlier version wrote them."""
        return sum(SUMS not in entry for entry in self._entries)

    def append(self, clip: Clip) -> None:
        """Add the frames of `clip`.

        The step of the stored depth is chosen by the first clip: fine enough for its depths, with
        room for eight times as far; what lies farther is stored as unknown.

        Raises:
            ValueError: frames of another size than the bank's, values that are not finite, or a
                bank that another run wrote to since it was opened.
            OSError: nothing, or not everything, could be written; the bank is as it was.
        """
        if len(self) and clip.cameras.size != self.cameras.size:
            raise ValueError(
                f"the memory bank {self.path} holds frames of {self.cameras.size} (height, width), "
                f"met {clip.cameras.size}; use one size, or another memory.path"
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
            # The folder is marked as a bank before anything is written to it.
            self._bytes = write_list(self.path, [], unit, origin)
        added = []
        for i, name in progress(enumerate(clip.names), "remembering", len(clip)):
            image, depth = image_name(len(self) + i), depth_name(len(self) + i)
            known = clip.depth[i]
            if clip.static is not None:
                known = torch.where(clip.static[i], known, 0.0)
            known = torch.where(known <= DEPTH_STEPS * unit, known, 0.0)
            write_frame(clip.frames[i], self.path / image, self._packed)
            write_depth(known, unit, self.path / depth, self._packed)
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
        """A picture's path, once it is known to be the one that was written."""
        entry = self._entries[i]
        path = self.path / entry["file_path" if kind == "image" else "depth_file_path"]
        wanted = entry.get(SUMS, {}).get(kind)
        if wanted is not None and (met := file_sum(path)) != wanted:
            raise ValueError(
                f"{path} is not the picture that was remembered (its sum is {met}, the list says "
                f"{wanted}); restore it, or begin another bank with memory.path="
            )
        return path

    def _refuse_changed(self) -> None:
        file = self.path / TRANSFORMS
        met = file.stat().st_size if file.exists() else None
        if met != self._bytes:
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
                        f"{self.path}: {link.relative_to(self.path)} leaves the bank's folder (it "
                        f"leads to {link.resolve()}); move the files inside"
                    )
        lost = [
            number
            for number in range(count)
            if not all(f"{number:06d}.png" in names for names in listed.values())
        ]
        if lost:
            shown = ", ".join(f"{number:06d}.png" for number in lost[:NAMED])
            more = ", ..." if len(lost) > NAMED else ""
            raise FileNotFoundError(
                f"the memory bank {self.path} lost files that it lists: {len(lost)} of {count} "
                f"frames lack their images/ or depth/ ({shown}{more}); restore them, or begin "
                "another bank with memory.path="
            )


def _depth_unit(depth: Tensor) -> float:
    """The smallest 1, 2 or 5 times a power of ten that leaves DEPTH_HEADROOM above `depth`."""
    farthest = depth.max().item() or 1.0
    smallest = farthest * DEPTH_HEADROOM / DEPTH_STEPS
    power = 10.0 ** math.floor(math.log10(smallest))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= smallest)
