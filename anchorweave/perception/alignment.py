"""Aligns a network's depth to the scale of the poses by known depth at some pixels.

Known depth comes from sparse points of structure from motion, a sensor, or memory. Both it and the
network have outliers, so the fit is robust to up to half of the pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

# Fewer known pixels than this fix no scale.
FEWEST = 12
# Pairs of pixels that a line is laid through, and pixels that it is judged by.
TRIALS, JUDGES = 500, 2000
# Steps of the refinement after it.
STEPS = 10


@dataclass(frozen=True)
class Alignment:
    """How a frame's prediction becomes depth in the unit of the poses.

    Args:
        scale: see `depth_of`.
        shift: likewise.
        residual: median of |depth / known - 1| over the known pixels.
        pixels: number of known ones.
    """

    scale: float
    shift: float
    residual: float
    pixels: int

    def depth_of(self, inverse: Float[Tensor, "H W"]) -> Float[Tensor, "H W"]:
        """Depth of a prediction of inverse depth [H, W]; 0 where it would lie beyond infinity."""
        aligned = self.scale * inverse + self.shift
        return torch.where(aligned > 1e-9, 1 / aligned.clamp(min=1e-9), 0.0)


def align_inverse(
    inverse: Float[Tensor, "H W"], known: Float[Tensor, "H W"], shifted: bool
) -> Alignment | None:
    """The scale and shift that align a prediction of inverse depth with known depth.

    1 / depth = scale * inverse + shift. The line that most pixels agree with, of many through two
    of them (least median of squares), then refined by weights that outliers lose.

    Args:
        inverse: predicted, the larger the nearer.
        known: depth, 0 where it is not known.
        shifted: whether a shift is open too (networks of relative depth); else it is 0.

    Returns:
        None where too little is known, or the network is anticorrelated with it.

    Source: Rousseeuw, "Least median of squares regression", 1984; Ranftl et al., "Towards robust
    monocular depth estimation", 2020, for scale and shift of inverse depth.
    """
    told = (known > 0) & inverse.isfinite() & ((inverse > 0) | shifted)
    x, z = inverse[told].double(), known[told].double()
    if len(x) < FEWEST:
        return None
    y = 1 / z
    scale, shift = _trials(x, y) if shifted else ((y / x).median(), y.new_tensor(0.0))
    for _ in range(STEPS):
        error = (scale * x + shift - y).abs() / y
        spread = error.median().clamp(min=1e-9)
        # Errors are relative, and weigh nothing beyond some four spreads.
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
    """Of lines through two pixels each, the one with the least median of relative errors."""
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
