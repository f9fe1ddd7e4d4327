"""The field-of-view pool: which memories may have seen some of what a chunk will show.

The paper keeps memories whose field of view overlaps the chunk "sufficiently" but gives neither a
test nor a threshold (section 3.3). Ours samples points in the chunk's frusta at several depths and
measures the fraction inside each memory's frustum, up to the farthest surface that memory saw.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.field_of_view import frustum_points, seen_share
from anchorweave.retrieval.coarse_views import CoarseViews

# Not given in the paper: the target's unknown depth is assumed to be distributed like the memories'
# depths. Five depths and 5 x 5 points make about 1,000 points per chunk.
DEPTH_QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)
GRID = 5
# torch.quantile sorts; quantiles of a subset of this size are accurate enough.
DEPTHS_SORTED = 200_000


def frustum_depths(memories: CoarseViews) -> Float[Tensor, " D"]:
    """Depths at which to sample frusta: quantiles of the memories' valid depths (empty if none)."""
    depth = memories.depth.flatten()
    if len(depth) > DEPTHS_SORTED:
        # Golden-ratio steps spread evenly; constant steps could hit a single image column only.
        steps = torch.arange(DEPTHS_SORTED, dtype=torch.float64) * 0.6180339887498949
        depth = depth[(steps % 1 * len(depth)).long()]
    depth = depth[depth > 0]
    if len(depth) == 0:
        return depth
    return torch.quantile(depth, depth.new_tensor(DEPTH_QUANTILES))


def farthest(memories: CoarseViews) -> Float[Tensor, " M"]:
    """The largest depth of each memory [M]; it cannot have seen anything beyond."""
    return memories.depth.amax(dim=(1, 2))


def view_overlap(
    target: Cameras,
    memories: CoarseViews,
    depths: Float[Tensor, " D"],
    far: Float[Tensor, " M"],
) -> Float[Tensor, " M"]:
    """Fraction of the chunk's frusta that each memory's frustum contains [M], in [0, 1].

    Args:
        target: the chunk's cameras.
        memories: M memories.
        depths: see `frustum_depths`; if empty, nothing overlaps.
        far: see `farthest`.

    Source: paper section 3.3; the test is ours.
    """
    if len(depths) == 0:
        return torch.zeros(len(memories))
    return seen_share(frustum_points(target, depths, GRID), memories.cameras, far)
