r"""Edit what a memory remembers: remove, recolour, move or add objects, for any memory system.

    python -m inference.edit_memory memory.path=outputs/rollout/memory points=outputs/points.ply
    python -m inference.edit_memory memory.path=outputs/rollout/memory output=outputs/edited \
        'edits=[{remove: {box: {centre: [0.4, 0, 2], size: [0.5, 1, 0.5]}}}]'
    python -m inference.edit_memory config=configs/edits/furnished_room.yaml
    python -m inference.rollout memory.path=outputs/edited output=outputs/further

The first writes the memory's points, to locate objects or cut out parts in any viewer. The others
write a new memory whose frames show the edited scene and which any run can continue; next to the
frames are edits.json, the list of edits, and edits.png, frames before and after.
`memory/edits.py` lists the options of every edit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anchorweave.command import Command
from anchorweave.config import load_config
from anchorweave.evaluation.montage import contact_sheet, side_by_side
from anchorweave.files import atomic_write
from anchorweave.geometry.point_cloud import save_ply
from anchorweave.geometry.selection import Box
from anchorweave.memory import Bank, GlobalCloud, GlobalCloudConfig, MemoryConfig
from anchorweave.memory.editing import edit_bank, edits_of
from anchorweave.memory.edits import OPERATIONS, Edit
from anchorweave.rendering.anchor_video import RenderConfig


@dataclass(frozen=True)
class EditedMemory:
    """The memory bank to edit.

    Args:
        path: its folder, which stays unchanged.
        depth_edge: points at a relative depth step above this are dropped.

    Raises:
        ValueError: `depth_edge` is not positive.
    """

    path: str = "outputs/rollout/memory"
    depth_edge: float = 0.04

    def __post_init__(self):
        if not self.depth_edge > 0:
            raise ValueError(f"memory.depth_edge={self.depth_edge} must be above 0")


@dataclass(frozen=True)
class EditMemoryConfig:
    """What is edited, and how.

    Args:
        memory: the memory bank to edit.
        output: folder of the new one.
        edits: applied in order, each as {operation: {option: value}}.
        points: PLY file to write the unedited memory's points to; null = none.
        voxel: voxel side for averaging these points, in the recording's unit.
        rendering: how moved, added and uncovered points are rendered.
        rows: number of changed frames in the picture.

    Raises:
        ValueError: neither edits nor points, or a number out of range.
    """

    memory: EditedMemory = field(default_factory=EditedMemory)
    output: str = "outputs/edited"
    edits: list[Any] = field(default_factory=list)
    points: str | None = None
    voxel: float = 0.01
    rendering: RenderConfig = field(default_factory=RenderConfig)
    rows: int = 6

    def __post_init__(self):
        if not self.edits and self.points is None:
            raise ValueError("edits=[]: give one or more edits, or points= to inspect the memory")
        if self.rows < 1:
            raise ValueError(f"rows={self.rows} must be 1 or more")


def main(words: list[str]) -> None:
    """Edit with `a.b=c` overrides."""
    config = load_config(EditMemoryConfig, words)
    edits = [read_edit(entry, f"edits[{i}]") for i, entry in enumerate(config.edits)]
    before = Bank(config.memory.path)
    if not len(before):
        raise ValueError(
            f"memory.path={config.memory.path} holds no frames; name the folder of a memory bank"
        )
    if edits:
        edge = config.memory.depth_edge
        after = edit_bank(before, edits, config.output, config.rendering, edge)
        write_picture(before, after, config.rows)
        for done in edits_of(after)[-1]["edits"]:
            name, changed = next(iter(done)), done["changed"]
            print(f"{name}: {changed['pixels']} pixels in {changed['frames']} frames changed")
        print(f"look at {config.output}/edits.png; continue with memory.path={config.output}")
    if config.points is not None:
        write_points(before, config)
        print(f"the memory's points: {config.points}")


def read_edit(entry: Any, where: str) -> Edit:
    """Parses one edit from a config.

    Args:
        entry: {operation: {option: value}}.
        where: its name in the config, for messages.

    Raises:
        ValueError: an unknown operation or option, a missing one, or an invalid value.
    """
    if not isinstance(entry, Mapping) or len(entry) != 1:
        raise ValueError(f"{where}: write {{operation: {{option: value}}}}, got {entry!r}")
    ((name, options),) = entry.items()
    if name not in OPERATIONS:
        raise ValueError(f"{where}: unknown operation {name!r}; known are {', '.join(OPERATIONS)}")
    _require_options(OPERATIONS[name], options, f"{where}.{name}")
    if options.get("box") is not None:
        _require_options(Box, options["box"], f"{where}.{name}.box")
    # Strings are passed as they are, everything else as YAML, of which JSON is a subset.
    words = [f"{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in options.items()]
    try:
        return load_config(OPERATIONS[name], words)
    except ValueError as error:
        raise ValueError(f"{where}.{name}: {error}") from error


def write_picture(before: Bank, after: Bank, rows: int) -> None:
    """edits.png in the new bank: changed frames before and after, evenly spread."""
    changed = [i for i in range(len(after)) if not _alike(before, after, i)]
    picked = np.unique(np.linspace(0, len(changed) - 1, min(rows, len(changed))).round())
    numbers = [changed[int(place)] for place in picked]
    videos = {
        label: torch.stack([bank.frame(i) for i in numbers])
        for label, bank in (("before", before), ("after", after))
    }
    names = tuple(f"frame {i}" for i in numbers)
    with atomic_write(after.path / "edits.png") as aside:
        contact_sheet(side_by_side(videos), len(numbers), names).save(aside)


def write_points(bank: Bank, config: EditMemoryConfig) -> None:
    """Writes all points of a memory as one PLY file."""
    voxels = GlobalCloudConfig(voxel=config.voxel)
    memory = GlobalCloud(
        bank, MemoryConfig("global_cloud", depth_edge=config.memory.depth_edge, global_cloud=voxels)
    )
    Path(config.points).parent.mkdir(parents=True, exist_ok=True)
    save_ply(memory.cloud, Path(config.points), bank.cameras.origin)


def _alike(before: Bank, after: Bank, i: int) -> bool:
    return torch.equal(before.frame(i), after.frame(i))


def _require_options(kind: type, options: Any, where: str) -> None:
    if not isinstance(options, Mapping):
        raise ValueError(f"{where}: write {{option: value}}, got {options!r}")
    needed = [option.name for option in fields(kind) if option.default is MISSING]
    if missing := [name for name in needed if options.get(name) is None]:
        raise ValueError(f"{where}: {', '.join(missing)} missing; got {dict(options)}")


COMMAND = Command(main, EditMemoryConfig)

if __name__ == "__main__":
    COMMAND.run()
