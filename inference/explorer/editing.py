"""Edits of the explored memory: a box, an operation on the points in it, and a new version.

The edit itself is `memory.editing.edit_bank`, as in `inference.edit_memory`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.geometry.selection import Box
from anchorweave.memory.editing import edit_bank, edits_of
from anchorweave.memory.edits import OPERATIONS, Move, Recolour, Remove
from inference.explorer.jobs import Job
from inference.explorer.session import Session
from inference.explorer.versions import remove_unfinished, version_path

# Rays along each side of a rectangle, and the fraction of points at either end that a box excludes:
# the background seen past an edge is far behind.
RAYS, OUTSIDE = 14, 0.04
# Scale of a box relative to the points it was fitted to.
MARGIN = 1.08
SMALLEST = 0.02


def box_around(
    session: Session,
    c2w: Float[Tensor, "4 4"],
    field_of_view: float,
    aspect: float,
    rectangle: Sequence[float],
) -> Box:
    """A box around what is visible in a rectangle of the page.

    Args:
        session: the exploration.
        c2w: pose of the view.
        field_of_view: vertical field of view, in radians.
        aspect: width over height of the view.
        rectangle: left, top, right, bottom as fractions of the view.

    Raises:
        ValueError: no memory has seen anything there.
    """
    left, top, right, bottom = rectangle
    x = torch.linspace(left, right, RAYS) * 2 - 1
    y = torch.linspace(top, bottom, RAYS) * 2 - 1
    half = math.tan(field_of_view / 2)
    x, y = torch.meshgrid(x * half * aspect, y * half, indexing="xy")
    own = torch.stack([x, y, torch.ones_like(x)], dim=-1).view(-1, 3)
    c2w = c2w.float()
    sight = session.look_along(c2w[:3, 3], own @ c2w[:3, :3].mT)
    points = sight.points[sight.met]
    if len(points) < 2:
        raise ValueError("no memory has seen anything there; draw the rectangle over the clouds")
    ends = torch.quantile(points, torch.tensor([OUTSIDE, 1 - OUTSIDE]), dim=0)
    origin = points.new_tensor(session.bank.cameras.origin)
    smallest = SMALLEST * session.state.unit
    size = ((ends[1] - ends[0]) * MARGIN).clamp(min=smallest)
    return Box(_vector(ends.mean(dim=0) + origin), _vector(size))


def edit(session: Session, what: Remove | Recolour | Move) -> Job:
    """Starts to create a version of the memory with an edit.

    Args:
        session: the exploration.
        what: the edit.

    Raises:
        ValueError: an empty memory, a pending segment, or another running job.
    """
    with session.lock:
        session.refuse_busy()
        state, bank, config = session.state, session.bank, session.config
        if not len(bank):
            raise ValueError(f"the memory {bank.path} is empty: there is nothing to edit")
        # Check whether an edit is allowed before the long work.
        state.edited("")
    path = version_path(session.output, state, len(state.versions))
    name = next(name for name, kind in OPERATIONS.items() if type(what) is kind)

    def work(job: Job) -> None:
        job.told(f"editing ({name})", 0.0, until=0.9)
        try:
            after = edit_bank(bank, [what], path, config.rendering, config.memory.depth_edge)
            changed = edits_of(after)[-1]["edits"][0]["changed"]
            about = f"{name}: {changed['pixels']:,} pixels in {changed['frames']} frames"
            job.told("editing: opening the memory", 0.9)
            memory = session.memory_over(after, state.kind)
            with session.lock:
                session.switch(session.state.edited(about), memory)
        except BaseException:
            remove_unfinished(session.output, state)
            raise

    return session.work(f"editing: {name}", work)


def _vector(values: Tensor) -> tuple[float, float, float]:
    x, y, z = values.tolist()
    return (x, y, z)
