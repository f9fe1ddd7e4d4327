"""Edits a remembered scene once, for every memory system: a new bank whose frames show the edit.

All systems read their frames from a bank, so an edit to it is seen by clouds, maps and references
alike. Spatia edits only the one cloud that it renders, so its reference frames would still show the
unedited scene.

Design choices that no paper gives: what lies behind a removed object is known where another frame
saw it, so each removed pixel takes the nearest point, over all frames, behind what was removed; if
there is none, it becomes black with unknown depth. Moved and added points are drawn into every
frame in front of anything farther, and over pixels without depth. Points at depth edges are neither
moved nor used to fill. Pixels without depth cannot be selected and stay unchanged. A removal costs
one splat per source frame into every frame that shows the object.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from anchorweave.files import atomic_write
from anchorweave.geometry.point_cloud import PointCloud, cloud_from_frame, load_ply
from anchorweave.geometry.projection import unproject
from anchorweave.geometry.selection import Selection, moved, rotation
from anchorweave.locks import making
from anchorweave.memory.bank import Bank
from anchorweave.memory.edited_frames import EditedFrames
from anchorweave.memory.edits import OPERATIONS, Add, Edit, Move, Recolour, Remove
from anchorweave.progress import progress, still_at_it
from anchorweave.rendering.anchor_video import RenderConfig, render_anchor

EDITS = "edits.json"
# Number of views a cloud is drawn into at once.
VIEWS_AT_ONCE = 8

Pixels = dict[int, Int64[Tensor, " n"]]


def edit_bank(
    bank: Bank,
    edits: Sequence[Edit],
    path: str | Path,
    rendering: RenderConfig | None = None,
    depth_edge: float = 0.04,
) -> Bank:
    """Writes a new bank in which every frame of `bank` shows the scene after all edits, in order.

    An edits.json next to its frames lists, for each editing run (oldest first), where the frames
    came from, every edit, and how many frames and pixels it changed.

    Args:
        bank: left unchanged.
        edits: at least one.
        path: path of the new bank; must not exist yet.
        rendering: how points are rendered.
        depth_edge: points at a relative depth step above this are not drawn; the same as
            `MemoryConfig.depth_edge`.

    Raises:
        FileExistsError: `path` exists.
        FileNotFoundError: no such PLY file.
        FolderInUseError: another run is writing `path`.
        ValueError: an empty bank, no edits, an empty selection, or points that would be visible in
            no frame.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path}: exists; remove it or choose another folder")
    if not len(bank) or not edits:
        raise ValueError(f"nothing to do: {len(edits)} edits of the {len(bank)} frames {bank.path}")
    for file in {edit.ply for edit in edits if edit.ply is not None}:
        load_ply(Path(file))  # Fail early, before the long work.
    with making(path), atomic_write(path) as aside:
        frames, done = EditedFrames(bank), []
        for edit in edits:
            changed = _apply(frames, edit, rendering or RenderConfig(), depth_edge)
            pixels = sum(len(numbers) for numbers in changed.values())
            done.append({**_in_words(edit), "changed": {"frames": len(changed), "pixels": pixels}})
        step = {"edited_from": str(bank.path), "edits": done}
        frames.write(aside)
        (aside / EDITS).write_text(json.dumps([*edits_of(bank), step], indent=1) + "\n")
    return Bank(path)


def edits_of(bank: Bank) -> list[dict]:
    """The entries of a bank's edits.json, oldest first; empty if it was never edited."""
    file = bank.path / EDITS
    return json.loads(file.read_text()) if file.exists() else []


def _in_words(edit: Edit) -> dict:
    name = next(name for name, kind in OPERATIONS.items() if type(edit) is kind)
    return {name: {key: value for key, value in asdict(edit).items() if value is not None}}


def _apply(frames: EditedFrames, edit: Edit, rendering: RenderConfig, edge: float) -> Pixels:
    """Applies one edit; returns the pixels that it changed in each frame."""
    if isinstance(edit, Add):
        cloud = load_ply(Path(edit.ply), torch.float64)
        put = _moved(cloud, edit, torch.zeros(3))
        points = (put.points - put.points.new_tensor(frames.cameras.origin)).float()
        cloud = PointCloud(points, cloud.colours)
        return _show(frames, cloud, rendering, f"added from {edit.ply}")
    chosen = _selected(frames, edit)
    if isinstance(edit, Recolour):
        return _recolour(frames, chosen, edit)
    if isinstance(edit, Remove):
        return _remove(frames, chosen, rendering, edge)
    cloud, centre = _points_of(frames, chosen, edge), edit.centre(frames.cameras.origin)
    removed = _remove(frames, chosen, rendering, edge)
    drawn = _show(frames, _moved(cloud, edit, centre), rendering, f"moved from {edit.where}")
    changed = {**removed, **drawn}
    return {
        i: torch.cat([part[i] for part in (removed, drawn) if i in part]).unique() for i in changed
    }


def _moved(cloud: PointCloud, edit: Move | Add, centre: Tensor) -> PointCloud:
    turn, centre = (v.to(cloud.points) for v in (rotation(edit.axis, edit.degrees), centre))
    return PointCloud(moved(cloud.points, centre, turn, edit.translation), cloud.colours)


def _selected(frames: EditedFrames, selection: Selection) -> Pixels:
    """The pixels of each frame whose points are selected; frames without any are left out."""
    chosen, low, high = {}, torch.full((3,), torch.inf), torch.full((3,), -torch.inf)
    for i in progress(range(len(frames)), "selecting"):
        depth = frames.depth(i)
        valid = (depth > 0).view(-1).nonzero().flatten()
        points = unproject(depth, frames.cameras[i]).view(-1, 3)[valid]
        if len(points):
            low, high = low.minimum(points.amin(dim=0)), high.maximum(points.amax(dim=0))
        inside = valid[selection.contains(points, frames.cameras.origin)]
        if len(inside):
            chosen[i] = inside
    if not chosen:
        raise ValueError(
            f"no point of the memory lies {selection.where}; the points of {frames.bank.path} "
            f"span {_rounded(low, frames)} to {_rounded(high, frames)}"
        )
    return chosen


def _recolour(frames: EditedFrames, chosen: Pixels, edit: Recolour) -> Pixels:
    for i, pixels in progress(chosen.items(), "recolouring"):
        colours = frames.frame(i).reshape(3, -1)[:, pixels].mT
        if edit.colour is not None:
            colours = colours.new_tensor(edit.colour).expand_as(colours)
        else:
            colours = (colours * colours.new_tensor(edit.tint)).clamp(max=1)
        frames.replace(i, pixels, colours, frames.depth(i).view(-1)[pixels])
    return chosen


def _remove(frames: EditedFrames, chosen: Pixels, rendering: RenderConfig, edge: float) -> Pixels:
    """Shows in the chosen pixels what other frames saw behind them, or nothing."""
    removed = {i: frames.depth(i).view(-1)[pixels] for i, pixels in chosen.items()}
    depth = {i: torch.full_like(z, torch.inf) for i, z in removed.items()}
    colours = {i: z.new_zeros(len(z), 3) for i, z in removed.items()}
    holes = list(chosen)
    for source in progress(range(len(frames)), "looking behind what was removed"):
        left = frames.clean_depth(source, edge)
        left.view(-1)[chosen.get(source, torch.empty(0, dtype=torch.long))] = 0.0
        cloud = cloud_from_frame(frames.frame(source), left, frames.cameras[source])
        for i, colour, z in _drawn(frames, cloud, holes, rendering):
            colour, z = colour[chosen[i]], z[chosen[i]]
            # A frame saw through to the removed surface, so anything in front of it is an error.
            nearer = (z > removed[i]) & (z < depth[i])
            colours[i][nearer], depth[i][nearer] = colour[nearer], z[nearer]
    for i, pixels in chosen.items():
        frames.replace(i, pixels, colours[i], depth[i].nan_to_num(posinf=0.0))
    return chosen


def _points_of(frames: EditedFrames, chosen: Pixels, edge: float) -> PointCloud:
    """The chosen pixels of all frames as world points, without those at depth edges."""
    parts = []
    for i, pixels in chosen.items():
        clean, depth = frames.clean_depth(i, edge).view(-1), torch.zeros_like(frames.depth(i))
        depth.view(-1)[pixels] = clean[pixels]
        parts.append(cloud_from_frame(frames.frame(i), depth, frames.cameras[i]))
    return PointCloud(
        torch.cat([part.points for part in parts]), torch.cat([part.colours for part in parts])
    )


def _show(frames: EditedFrames, cloud: PointCloud, rendering: RenderConfig, what: str) -> Pixels:
    """Draws a cloud into every frame where nothing is in front of it."""
    changed = {}
    drawn = _drawn(frames, cloud, range(len(frames)), rendering)
    for i, colour, z in progress(drawn, "drawing into the frames", len(frames)):
        depth = frames.depth(i).view(-1)
        visible = ((z > 0) & ((depth == 0) | (z < depth))).nonzero().flatten()
        if len(visible):
            frames.replace(i, visible, colour[visible], z[visible])
            changed[i] = visible
    if not changed:
        extent = "none is left once those at depth edges are dropped"
        if len(cloud):
            low, high = cloud.points.amin(dim=0), cloud.points.amax(dim=0)
            extent = f"they would span {_rounded(low, frames)} to {_rounded(high, frames)}"
        raise ValueError(f"no frame of {frames.bank.path} shows the points {what}: {extent}")
    return changed


def _drawn(frames: EditedFrames, cloud: PointCloud, views: Sequence[int], rendering: RenderConfig):
    """A cloud as seen by some frames' cameras: frame numbers, colours [HW, 3], depth [HW]."""
    for start in range(0, len(views), VIEWS_AT_ONCE):
        still_at_it()
        part = list(views[start : start + VIEWS_AT_ONCE])
        splat = render_anchor(cloud, frames.cameras[part], rendering)
        for i, colours, depth in zip(part, splat.video, splat.depth, strict=True):
            yield i, colours.reshape(3, -1).mT, depth.reshape(-1)


def _rounded(point: Float[Tensor, "3"], frames: EditedFrames) -> list[float]:
    """A point in the coordinates that edits are given in."""
    origin = frames.cameras.origin
    return [round(value + at, 3) for value, at in zip(point.tolist(), origin, strict=True)]
