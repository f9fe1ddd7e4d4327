"""Random order; of the pool, it is the paper's training augmentation (sections 4.1, A.1)."""

from __future__ import annotations

import numpy as np


def random_order(candidates: int, seed: int, chunk: int) -> list[int]:
    """0..candidates - 1 shuffled; deterministic for a given (candidates, seed, chunk)."""
    return np.random.default_rng((seed, chunk)).permutation(candidates).tolist()
