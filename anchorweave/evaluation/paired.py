"""Comparison of two runs clip by clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from anchorweave.evaluation.bootstrap import Interval, paired_difference


@dataclass(frozen=True)
class PairedClips:
    """Per-clip differences of one run minus the other, on the clips that both have.

    Args:
        interval: interval of the mean difference.
        differences: clip -> difference, sorted by magnitude, largest first.
    """

    interval: Interval
    differences: dict[str, float]

    @property
    def higher(self) -> int:
        """Number of clips on which the first is higher."""
        return sum(value > 0 for value in self.differences.values())

    @property
    def lower(self) -> int:
        """Number of clips on which the first is lower."""
        return sum(value < 0 for value in self.differences.values())

    @property
    def equal(self) -> int:
        """Number of clips on which both are equal."""
        return len(self.differences) - self.higher - self.lower


def compare_clips(
    one: Mapping[str, float], other: Mapping[str, float], resamples: int = 2000, seed: int = 0
) -> PairedClips:
    """One value per clip of either run.

    Raises:
        ValueError: no clip in both, or values that are not finite.
    """
    interval = paired_difference(one, other, resamples, seed)
    differences = {clip: one[clip] - other[clip] for clip in one if clip in other}
    order = sorted(differences.items(), key=lambda pair: -abs(pair[1]))
    return PairedClips(interval, dict(order))
