"""The Fréchet distance between two Gaussians fitted to features (FID: Heusel et al., 2017).

    d = |m1 - m2|^2 + tr(C1) + tr(C2) - 2 tr((C1 C2)^(1/2))

with C = A^T A / (N - 1) for centred features A. The eigenvalues of C1 C2 are the squared singular
values of A1 A2^T up to that factor, so the last trace is their sum. This avoids the matrix square
root, where the usual code loses precision or becomes complex for rank-deficient covariances, which
is what few samples give.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64
from torch import Tensor


def frechet_distance(one: Float[Tensor, "N D"], other: Float[Tensor, "M D"]) -> float:
    """The distance, at least 0, in squared units of the features; unbiased covariances.

    Args:
        one: features, one sample per row.
        other: features of the other set.

    Raises:
        ValueError: fewer than two samples, or features that are not finite.
    """
    for features in (one, other):
        if len(features) < 2:
            raise ValueError(f"{len(features)} samples have no covariance; at least 2 are needed")
        if not features.isfinite().all():
            raise ValueError("features that are not finite")
    one, other = one.double(), other.double()
    a, b = _factor(one), _factor(other)
    between = (one.mean(dim=0) - other.mean(dim=0)).square().sum()
    spread = a.square().sum() + b.square().sum() - 2 * torch.linalg.svdvals(a @ b.mT).sum()
    # For two equal sets rounding may give a slightly negative value.
    return max(0.0, (between + spread).item())


def _factor(features: Float64[Tensor, "N D"]) -> Float64[Tensor, "rank D"]:
    """A with A^T A = the covariance, with at most D rows."""
    centred = (features - features.mean(dim=0)) / (len(features) - 1) ** 0.5
    N, D = centred.shape
    return torch.linalg.qr(centred, mode="r").R if N > D else centred
