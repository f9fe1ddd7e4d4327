"""Random order; of the pool, it is the augmentation the paper trains with (section 4.1, A.1)."""

from __future__ import annotations

import numpy as np


def random_order(candidates: int, seed: int, chunk: int) -> list[int]:
    """The numbers 0..candidates - 1 shuffled; the same for the same (candidates, seed, chunk)."""
    return np.random.default_rng((seed, chunk)).permutation(candidates).tolist()
