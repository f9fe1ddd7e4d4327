"""Uncertainty of a mean over clips: percentile bootstrap intervals, single and paired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

SHARE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean over `clips` clips, and the ends of its 95 % interval."""

    mean: float
    low: float
    high: float
    clips: int


def bootstrap_interval(values: Sequence[float], resamples: int = 2000, seed: int = 0) -> Interval:
    """The mean of one value per clip, with a bootstrap interval over clips.

    Args:
        values: one per clip. Clips are resampled: average several seeds of a clip first, because
            they are not independent.
        resamples: number of bootstrap resamples (with replacement).
        seed: random seed.

    Raises:
        ValueError: no values, values that are not finite, or no resamples.
    """
    array = np.asarray(values, dtype=np.float64)
    if not len(array) or not np.isfinite(array).all():
        raise ValueError(
            f"an interval needs one finite value per clip, got {len(array)} values of which "
            f"{int((~np.isfinite(array)).sum())} are not finite"
        )
    if resamples < 1:
        raise ValueError(f"resamples={resamples}: must be at least 1")
    draws = np.random.default_rng(seed).integers(len(array), size=(resamples, len(array)))
    means = array[draws].mean(axis=1)
    low, high = np.quantile(means, [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return Interval(float(array.mean()), float(low), float(high), len(array))


def paired_difference(
    one: Mapping[str, float], other: Mapping[str, float], resamples: int = 2000, seed: int = 0
) -> Interval:
    """The mean of `one` minus `other` over the clips that both have.

    Differences are resampled clip by clip: clip difficulty cancels out, so that two rows can differ
    significantly even if their own intervals overlap.

    Raises:
        ValueError: no clip in both, or values that are not finite.
    """
    shared = [clip for clip in one if clip in other]
    if not shared:
        raise ValueError(f"no clip is in both: {len(one)} in one, {len(other)} in the other")
    return bootstrap_interval([one[clip] - other[clip] for clip in shared], resamples, seed)
