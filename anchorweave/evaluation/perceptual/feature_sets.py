"""Distance between the sets of all generated and all true videos of a row, in feature space.

Every true clip counts once, however many seeds were sampled for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.evaluation.perceptual.frechet import frechet_distance
from anchorweave.evaluation.perceptual.samples import NotMeasuredError, Sample


@dataclass(frozen=True)
class SetDistance:
    """A Fréchet distance, and the sets it is computed from.

    Args:
        distance: lower is better.
        generated: number of generated samples.
        true: number of true samples.
        features: length of a sample's feature vector.
        of: what a sample is.
    """

    distance: float
    generated: int
    true: int
    features: int
    of: Literal["frames", "videos"]

    @property
    def warning(self) -> str | None:
        """A warning if the sets are too small for a meaningful distance.

        Not given in any paper; ours: a covariance of D features has full rank only with at least D
        + 1 samples. With fewer, the distance reflects the number of samples more than their
        quality.
        """
        fewest = min(self.generated, self.true)
        if fewest > self.features:
            return None
        return (
            f"based on {self.generated} generated and {self.true} true {self.of}; below "
            f"{self.features + 1} it depends on their number and is not comparable with other sets"
        )


def distance_of_sets(
    samples: Iterable[Sample],
    features: Callable[[Tensor], Tensor],
    of: Literal["frames", "videos"],
) -> SetDistance:
    """The distance between generated and true samples.

    Args:
        samples: those without a known truth are excluded from both sets.
        features: maps a video [T, 3, H, W] in [0, 1] to the feature vectors [n, D] of its samples.
        of: what one such sample is.

    Raises:
        NotMeasuredError: no truth is known, or there are fewer than two samples.
    """
    generated: list[Float[Tensor, "n D"]] = []
    true: dict[str, Float[Tensor, "n D"]] = {}
    with torch.inference_mode():
        for sample in samples:
            if sample.truth is None:
                continue
            generated.append(features(sample.video))
            if sample.clip not in true:
                true[sample.clip] = features(sample.truth)
    if not true:
        raise NotMeasuredError("no true frames are known along these paths")
    generated_features, true_features = torch.cat(generated), torch.cat(list(true.values()))
    if min(len(generated_features), len(true_features)) < 2:
        raise NotMeasuredError(f"{len(true_features)} true {of} are too few; at least 2 are needed")
    distance = frechet_distance(generated_features, true_features)
    return SetDistance(
        distance, len(generated_features), len(true_features), generated_features.shape[1], of
    )
