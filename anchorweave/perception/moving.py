"""Moving objects, detected by depth that contradicts other views.

At other times, other views see through the place of a moving object to what is behind it. A static
surface is never seen through. Views that see something nearer there are ignored, since it may
occlude the place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import max_pool2d

from anchorweave.clip import Clip
from anchorweave.geometry.projection import project, unproject
from anchorweave.perception.base import Perception
from anchorweave.progress import progress


@dataclass(frozen=True)
class GeometryConfig:
    """Options of the comparison; none is given in the papers.

    Args:
        tolerance: relative depth difference up to which two views agree.
        views: number of other frames that a frame is compared with, spread evenly over the clip.
        votes: number of views that must see through a point before it counts as moving.
        grow: dilation of the moving mask in pixels, to cover borders.

    Raises:
        ValueError: a value out of range.
    """

    tolerance: float = 0.05
    views: int = 16
    votes: int = 2
    grow: int = 1

    def __post_init__(self):
        if not 0 < self.tolerance < 1 or min(self.views, self.votes) < 1 or self.grow < 0:
            raise ValueError(
                "perception.geometry: tolerance must lie between 0 and 1, views and votes be at "
                f"least 1, grow at least 0; got {self}"
            )


class KeepsStill:
    """Wraps a perception plug-in and also marks moving objects, which are then kept out of memory.

    Args:
        perception: the plug-in that provides depth.
        config: options of the comparison.
    """

    def __init__(self, perception: Perception, config: GeometryConfig):
        self.perception, self.config = perception, config

    def __call__(self, clip: Clip, known_depth: Float[Tensor, "T H W"] | None = None) -> Clip:
        """The clip with depth, and with `static` False where its depth contradicts other views."""
        seen = self.perception(clip, known_depth)
        static = standing_still(seen, self.config)
        return replace(seen, static=static if seen.static is None else seen.static & static)


def standing_still(clip: Clip, config: GeometryConfig) -> Bool[Tensor, "T H W"]:
    """Where a clip's depth is not contradicted by its other frames [T, H, W].

    Args:
        clip: frames with depth.
        config: options.
    """
    T = len(clip)
    every = torch.linspace(0, T - 1, min(T, config.views + 1)).round().int().tolist()
    moving = []
    for i in progress(range(T), "comparing views"):
        through, agreed = (torch.zeros_like(clip.depth[i]) for _ in range(2))
        points = unproject(clip.depth[i], clip.cameras[i]).reshape(-1, 3)
        for j in every:
            if j == i:
                continue
            looked, same = _compared(points, clip, j, config.tolerance)
            through += looked.reshape(through.shape)
            agreed += same.reshape(agreed.shape)
        valid = clip.depth[i] > 0
        moving.append(valid & (through >= config.votes) & (through > agreed))
    mask = torch.stack(moving)
    side = 2 * config.grow + 1
    return max_pool2d(mask[:, None].float(), side, 1, config.grow)[:, 0] == 0


def _compared(points: Tensor, clip: Clip, j: int, tolerance: float) -> tuple[Tensor, Tensor]:
    """Which of the points [P] frame j sees through, and for which it has depth."""
    height, width = clip.cameras.size
    position, z = project(points, clip.cameras[j])
    x, y = position.floor().long().unbind(-1)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (z > 0)
    x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
    depth = clip.depth[j]
    # At a depth edge a point may land on either side: use the nearest surface around it.
    near = torch.where(depth > 0, depth, torch.inf)
    near = -max_pool2d(-near[None, None], 3, 1, 1)[0, 0]
    compared = inside & (depth[y, x] > 0)
    through = compared & (z < near[y, x] * (1 - tolerance))
    agreed = compared & ((z - depth[y, x]).abs() <= tolerance * depth[y, x])
    return through, agreed
