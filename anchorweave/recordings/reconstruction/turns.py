"""Whether the matches of two views are explained by a pure camera rotation.

Only numpy is imported, because the worker uses this next to pycolmap.
"""

import numpy as np


def turning_share(pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Fraction of view pairs explained by a rotation, with the focal length that explains most.

    Args:
        pairs: matched positions [N, 2] in both views, relative to the image centre, in units of its
            longer side.
    """
    flat = [homography(a, b) for a, b in pairs]
    shares = [
        sum(H is not None and is_turn(H, focal) for H in flat) / len(flat)
        for focal in np.geomspace(0.3, 4, 40)
    ]
    return float(max(shares))


def homography(a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
    """The homography from points `a` to `b` [N, 2]; None if none fits most of them."""
    x, y, ones, zeros = a[:, 0], a[:, 1], np.ones(len(a)), np.zeros(len(a))
    inliers = np.ones(len(a), dtype=bool)
    # 0.2 % of the image, two pixels of 960; more where motion is large.
    exact = max(0.002, 0.03 * float(np.median(np.linalg.norm(a - b, axis=1))))
    for _ in range(3):
        rows = [
            np.stack([x, y, ones, *[zeros] * 3, *(-b[:, 0] * v for v in (x, y, ones))], axis=1),
            np.stack([*[zeros] * 3, x, y, ones, *(-b[:, 1] * v for v in (x, y, ones))], axis=1),
        ]
        system = np.concatenate([row[inliers] for row in rows])
        H = np.linalg.svd(system, full_matrices=False)[2][-1].reshape(3, 3)
        moved = np.stack([x, y, ones], axis=1) @ H.T
        away = np.linalg.norm(moved[:, :2] / moved[:, 2:] - b, axis=1)
        inliers = away < max(exact, 2 * float(np.median(away)))
    return H if (away < exact).mean() > 0.8 else None


def is_turn(H: np.ndarray, focal: float) -> bool:
    """Whether a homography is a camera rotation with this focal length."""
    K = np.diag([focal, focal, 1.0])
    stretch = np.linalg.svd(np.linalg.inv(K) @ H @ K, compute_uv=False)
    return bool(stretch[0] / stretch[2] < 1.02)
