"""A camera in the representation that the room-rendering kernels use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from anchorweave.geometry.cameras import Cameras


@dataclass(frozen=True)
class View:
    """A pinhole view for the kernels, in float64.

    Args:
        eye: the viewpoint [3].
        rays: [3, 3]; (1, u, v) @ rays is the ray of image position (u, v), with z-depth 1.
        image: [3, 3]; image @ (point - eye) is (u z, v z, z).
        size: (height, width) in pixels.
    """

    eye: Float[np.ndarray, "3"]
    rays: Float[np.ndarray, "3 3"]
    image: Float[np.ndarray, "3 3"]
    size: tuple[int, int]


def view_of(camera: Cameras) -> View:
    """The view of one camera."""
    c2w, K = camera.c2w.double().numpy(), camera.K.double().numpy()
    right, down, forward = c2w[:3, :3].T
    u, v = right / K[0, 0], down / K[1, 1]
    rays = np.stack([forward - K[0, 2] * u - K[1, 2] * v, u, v])
    image = np.stack(
        [K[0, 0] * right + K[0, 2] * forward, K[1, 1] * down + K[1, 2] * forward, forward]
    )
    return View(c2w[:3, 3].copy(), rays, image, camera.size)
