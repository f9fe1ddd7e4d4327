"""Image similarity from local features, to find loop closures.

Only numpy is imported, because the worker uses this next to pycolmap.
"""

import numpy as np

# Number of visual words, and of features used per image.
WORDS, LOOKED_AT = 32, 500


def likeness(sets: list[np.ndarray]) -> np.ndarray:
    """Similarity of images [N, N], 1 = identical, from descriptors aggregated over visual words.

    Args:
        sets: feature descriptors [F, D] of each of N images, float32.

    Source: Jegou et al., "Aggregating local descriptors into a compact image representation", 2010.
    """
    draw = np.random.default_rng(0)
    sets = [s[draw.permutation(len(s))[:LOOKED_AT]] for s in sets]
    pooled = np.concatenate(sets)
    words = pooled[draw.permutation(len(pooled))[:WORDS]]
    for _ in range(5):
        nearest = np.argmin(_distances(pooled, words), axis=1)
        words = np.stack(
            [
                pooled[nearest == w].mean(axis=0) if (nearest == w).any() else words[w]
                for w in range(len(words))
            ]
        )
    signatures = []
    for s in sets:
        signature = np.zeros_like(words)
        if len(s):
            nearest = np.argmin(_distances(s, words), axis=1)
            np.add.at(signature, nearest, s - words[nearest])
        signature = np.sign(signature) * np.sqrt(np.abs(signature))
        signatures.append(signature.ravel() / max(float(np.linalg.norm(signature)), 1e-9))
    stacked = np.stack(signatures)
    return stacked @ stacked.T


def _distances(points: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Squared distances [N, W], up to terms that are the same for all words."""
    return (words**2).sum(axis=1) - 2 * points @ words.T
