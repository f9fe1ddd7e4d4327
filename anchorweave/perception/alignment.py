"""Aligns a network's depth to the scale of the poses, using pixels whose depth is known.

Known depth comes from sparse points of structure from motion, a sensor, or memory. Both it and the
network's depth have outliers, so the fit is robust to up to half of the pixels being wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

# Minimum number of known pixels that determine a scale.
FEWEST = 12
# Number of pixel pairs that propose a line, and of pixels that score it.
TRIALS, JUDGES = 500, 2000
# Iterations of the subsequent refinement.
STEPS = 10


@dataclass(frozen=True)
class Alignment:
    """The mapping from a frame's prediction to depth in the unit of the poses.

    Args:
        scale: see `depth_of`.
        shift: likewise.
        residual: median of |depth / known - 1| over the known pixels.
        pixels: number of known pixels.
    """

    scale: float
    shift: float
    residual: float
    pixels: int

    def depth_of(self, inverse: Float[Tensor, "H W"]) -> Float[Tensor, "H W"]:
        """Depth from predicted inverse depth [H, W]; 0 where the aligned inverse is negative."""
        aligned = self.scale * inverse + self.shift
        return torch.where(aligned > 1e-9, 1 / aligned.clamp(min=1e-9), 0.0)


def align_inverse(
    inverse: Float[Tensor, "H W"], known: Float[Tensor, "H W"], shifted: bool
) -> Alignment | None:
    """The scale and shift that align predicted inverse depth with known depth.

    1 / depth = scale * inverse + shift. Among many lines through two pixels each, picks the one
    with the least median of squares, then refines it by reweighting that suppresses outliers.

    Args:
        inverse: predicted inverse depth (larger = nearer).
        known: known depth, 0 where unknown.
        shifted: whether to fit a shift as well (networks of relative depth); else it is 0.

    Returns:
        None if too few pixels are known, or if the prediction is anticorrelated with them.

    Source: Rousseeuw, "Least median of squares regression", 1984; Ranftl et al., "Towards robust
    monocular depth estimation", 2020, for scale and shift of inverse depth.
    """
    usable = (known > 0) & inverse.isfinite() & ((inverse > 0) | shifted)
    x, z = inverse[usable].double(), known[usable].double()
    if len(x) < FEWEST:
        return None
    y = 1 / z
    scale, shift = _trials(x, y) if shifted else ((y / x).median(), y.new_tensor(0.0))
    for _ in range(STEPS):
        error = (scale * x + shift - y).abs() / y
        spread = error.median().clamp(min=1e-9)
        # Errors are relative; the weight drops to 0 beyond about four standard deviations.
        weight = (1 - (error / (4.7 * spread)).square()).clamp(min=0).square() / y.square()
        if shifted:
            scale, shift = _line(x, y, weight, (scale, shift))
        else:
            scale = (weight * x * y).sum() / (weight * x * x).sum()
    if not scale > 0:
        return None
    aligned = scale * x + shift
    depth = torch.where(aligned > 0, 1 / aligned.clamp(min=1e-12), torch.inf)
    residual = (depth / z - 1).abs().median().item()
    return Alignment(scale.item(), shift.item(), residual, len(x))


def _trials(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Of lines through two pixels each, the one with the least median relative error."""
    draw = torch.Generator().manual_seed(0)
    a, b = torch.randint(len(x), (2, TRIALS), generator=draw)
    judges = torch.randperm(len(x), generator=draw)[:JUDGES]
    run = x[a] - x[b]
    apart = run.abs() > 1e-9 * x.abs().max().clamp(min=1e-30)
    if not apart.any():
        return x.new_tensor(0.0), y.median()
    a, b, run = a[apart], b[apart], run[apart]
    scales = (y[a] - y[b]) / run
    shifts = y[a] - scales * x[a]
    lines = scales[:, None] * x[judges] + shifts[:, None]
    errors = ((lines - y[judges]).abs() / y[judges]).median(dim=1).values
    best = errors.argmin()
    return scales[best], shifts[best]


def _line(x: Tensor, y: Tensor, weight: Tensor, otherwise: tuple[Tensor, Tensor]):
    total = weight.sum()
    mx, my = (weight * x).sum() / total, (weight * y).sum() / total
    spread = (weight * (x - mx).square()).sum()
    if not spread > 1e-12 * total * mx.square():
        return otherwise
    scale = (weight * (x - mx) * (y - my)).sum() / spread
    return scale, my - scale * mx
