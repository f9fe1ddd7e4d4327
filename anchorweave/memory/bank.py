"""Bank: remembered frames on disk, append-only, in a layout that other tools open as well.

    BANK/transforms.json        nerfstudio's keys; `bank_version` is this layout's, `source` what
                                a frame is called elsewhere
    BANK/images/NNNNNN.png      colours, 8 bits
    BANK/depth/NNNNNN.png       uint16 steps of `depth_unit_scale_factor`, 0 = unknown

The list is renamed into place after the files it names, so a write that is cut off loses at most
the clip being added. What a memory retrieves is always read back from here: a bank that is opened
again cannot differ from the one that was kept open.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.clip import Clip
from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.point_cloud import depth_edges
from anchorweave.images import write_depth, write_frame
from anchorweave.progress import slowly
from anchorweave.recordings.nerfstudio import (
    TRANSFORMS,
    NerfstudioFiles,
    frame_entry,
    open_nerfstudio,
    write_transforms,
)
from anchorweave.recordings.transforms_json import finite_number, read_meta

# 65535 marks an invalid depth in many recordings, so it is not used.
DEPTH_STEPS = 65534
# One change of what the files mean, one more. Banks that do not tell theirs are of version 1.
VERSION, VERSION_KEY = 1, "bank_version"
# Of the world that its cameras are read in; listed where it is not 0 0 0. What is listed as poses
# is in the recording's own coordinates.
ORIGIN_KEY = "bank_origin"
# How much farther than in the first clip a later depth may lie and still be kept.
DEPTH_HEADROOM = 8.0


class Bank:
    """A folder of remembered frames, opened if it is there, begun by the first append if not.

    Args:
        path: the folder.

    Raises:
        FileNotFoundError: files that the bank lists are gone.
        ValueError: the folder's list is damaged, a frame has a bad pose, or another version of
            this code wrote it in another layout.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._entries: list[dict] = []
        self._files: NerfstudioFiles | None = None
        self.depth_unit: float | None = None
        self._origin: tuple[float, float, float] | None = None
        if (self.path / TRANSFORMS).exists():
            self._reopen()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def names(self) -> tuple[str, ...]:
        """What each frame was called where it came from."""
        return tuple(entry.get("source", entry["file_path"]) for entry in self._entries)

    @property
    def cameras(self) -> Cameras:
        """The cameras [M] of all frames; an empty bank has none to give."""
        if self._files is None:
            raise ValueError(f"the memory bank {self.path} is empty")
        return self._files.cameras

    def frame(self, i: int) -> Float[Tensor, "3 H W"]:
        """Colours of memory `i` [3, H, W] in [0, 1]."""
        return self._files.frame(i)

    def depth(self, i: int) -> Float[Tensor, "H W"]:
        """Depth of memory `i` [H, W]; 0 = unknown, or a moving thing."""
        return self._files.depth(i)

    def clean_depth(self, i: int, edge: float) -> Float[Tensor, "H W"]:
        """Depth of memory `i` [H, W]; 0 as well on both sides of a relative step above `edge`."""
        depth = self.depth(i)
        return torch.where(depth_edges(depth, edge), 0.0, depth)

    def append(self, clip: Clip) -> None:
        """Add the frames of `clip`.

        The step of the stored depth is chosen by the first clip: fine enough for its depths, with
        room for eight times as far; what lies farther is stored as unknown.

        Raises:
            ValueError: frames of another size than the bank's.
            OSError: nothing, or not everything, could be written; the bank is as it was.
        """
        if len(self) and clip.cameras.size != self.cameras.size:
            raise ValueError(
                f"the memory bank {self.path} holds frames of {self.cameras.size} (height, width), "
                f"met {clip.cameras.size}; use one size, or another memory.path"
            )
        unit = self.depth_unit or _depth_unit(clip.depth)
        for folder in ("images", "depth"):
            (self.path / folder).mkdir(parents=True, exist_ok=True)
        added = []
        for i, name in slowly(enumerate(clip.names), "remembering", len(clip)):
            number = len(self) + i
            image, depth = f"images/{number:06d}.png", f"depth/{number:06d}.png"
            known = clip.depth[i]
            if clip.static is not None:
                known = torch.where(clip.static[i], known, 0.0)
            known = torch.where(known <= DEPTH_STEPS * unit, known, 0.0)
            write_frame(clip.frames[i], self.path / image)
            write_depth(known, unit, self.path / depth)
            added.append({**frame_entry(clip.cameras[i], image, depth), "source": name})
        origin = clip.cameras.origin if self._origin is None else self._origin
        notes = {VERSION_KEY: VERSION} | ({ORIGIN_KEY: list(origin)} if any(origin) else {})
        write_transforms(self._entries + added, self.path, unit, notes)
        self._reopen()

    def _reopen(self) -> None:
        meta = read_meta(self.path / TRANSFORMS)
        # Kept from the first clip on: all that was made of the bank's cameras lies in their world.
        self._origin = _origin(self.path, meta)
        try:
            self._files = open_nerfstudio(self.path / TRANSFORMS, origin=self._origin)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"the memory bank {self.path} lost files that it lists ({error.args[0]}); restore "
                "them, or begin another bank with memory.path="
            ) from error
        if not self._files.has_depth:
            raise ValueError(
                f"{self.path}: is a recording without depth, which is no memory bank; give it as "
                "source= and let perception estimate the depth"
            )
        if (version := meta.get(VERSION_KEY, 1)) != VERSION:
            raise ValueError(
                f"the memory bank {self.path} has layout {version}, this code reads and writes "
                f"layout {VERSION}; use the code that made it, or begin another with memory.path="
            )
        self._entries = meta["frames"]
        self.depth_unit = self._files.depth_unit


def _origin(path: Path, meta: dict) -> tuple[float, float, float]:
    origin = meta.get(ORIGIN_KEY, [0.0, 0.0, 0.0])
    if not isinstance(origin, list) or len(origin) != 3:
        raise ValueError(f"{path / TRANSFORMS}: {ORIGIN_KEY} is {origin!r}, expected three numbers")
    where, numbers = str(path / TRANSFORMS), dict(zip("xyz", origin, strict=True))
    x, y, z = (finite_number(where, numbers, axis) for axis in "xyz")
    return (x, y, z)


def _depth_unit(depth: Tensor) -> float:
    """The smallest 1, 2 or 5 times a power of ten that leaves DEPTH_HEADROOM above `depth`."""
    farthest = depth.max().item() or 1.0
    smallest = farthest * DEPTH_HEADROOM / DEPTH_STEPS
    power = 10.0 ** math.floor(math.log10(smallest))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= smallest)
