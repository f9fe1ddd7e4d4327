"""Camera frusta as drawn in the scene, with their images."""

from __future__ import annotations

import numpy as np
import torch
import viser
from jaxtyping import Float
from torch import Tensor
from viser import transforms

from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.projection import unproject

# A click within this distance of a frustum's centre, relative to its length, selects it.
CLICKED = 0.6


def field_of_view(camera: Cameras) -> float:
    """The vertical field of view of one camera, in radians."""
    return 2 * float(torch.atan(camera.size[0] / 2 / camera.K[1, 1]))


def frustum_lines(cameras: Cameras, size: float) -> Float[np.ndarray, "lines 2 3"]:
    """The edges of the frusta of M cameras, 8 each.

    Args:
        cameras: [M].
        size: depth of their far planes.
        size: depth of their far ends.
    """
    M = len(cameras)
    corner = cameras.resized((2, 2))
    far = unproject(torch.full((M, 2, 2), size), corner)
    # The centres of 2 x 2 pixels lie halfway out: the image corners are twice as far.
    middle = far.mean(dim=(1, 2), keepdim=True)
    corners = (middle + 2 * (far - middle)).reshape(M, 4, 3)[:, [0, 1, 3, 2]]
    apex = cameras.centres[:, None].expand(M, 4, 3)
    sides = torch.stack([apex, corners], dim=2)
    ring = torch.stack([corners, corners.roll(-1, dims=1)], dim=2)
    return torch.cat([sides, ring], dim=1).reshape(-1, 2, 3).numpy()


def add_frustum(
    scene: viser.SceneApi,
    name: str,
    camera: Cameras,
    size: float,
    colour: tuple[int, int, int],
    thickness: float,
    image: np.ndarray | None = None,
) -> None:
    """Shows one camera, with its image if there is one.

    Args:
        scene: scene of the page, or of one browser.
        name: name of the node.
        camera: c2w [4, 4].
        size: depth of its far plane.
        colour: colour of its edges.
        thickness: thickness of its edges, in pixels.
        image: [H, W, 3], uint8.
    """
    scene.add_line_segments(
        name,
        frustum_lines(camera[None], size),
        colour,
        thickness=thickness,
        thickness_units="screen",
    )
    if image is not None:
        height = camera.size[0] / float(camera.K[1, 1]) * size
        width = camera.size[1] / float(camera.K[0, 0]) * size
        at = camera.c2w[:3, 3] + size * camera.c2w[:3, 2]
        scene.add_image(
            f"{name}/picture",
            image,
            render_width=width,
            render_height=height,
            wxyz=quaternion_of(camera.c2w),
            position=at.numpy(),
        )


def quaternion_of(c2w: Float[Tensor, "4 4"]) -> np.ndarray:
    """w, x, y, z of a camera's rotation."""
    return transforms.SO3.from_matrix(c2w[:3, :3].double().numpy()).wxyz


def pixels(frame: Float[Tensor, "3 H W"]) -> np.ndarray:
    """A frame as bytes [H, W, 3]."""
    return (frame.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()


def camera_along(
    cameras: Cameras,
    size: float,
    origin: Float[Tensor, "3"],
    direction: Float[Tensor, "3"],
    reach: float,
) -> tuple[int, float] | None:
    """The camera selected by a click: the first one whose frustum's centre is close to the ray.

    Args:
        cameras: [M], drawn with frusta of `size`.
        size: depth of their far planes.
        origin: origin of the ray.
        direction: unit direction of the ray.
        reach: distance at which a surface occludes the ray.

    Returns:
        Its number and its distance; None if there is none.
    """
    middles = cameras.centres + 0.5 * size * cameras.c2w[:, :3, 2]
    along = (middles - origin) @ direction
    aside = (middles - origin - along[:, None] * direction).norm(dim=-1)
    # A camera that one is looking through cannot be clicked.
    meant = (aside < CLICKED * size) & (along > size) & (along < reach)
    if not meant.any():
        return None
    numbers = meant.nonzero().flatten()
    nearest = int(numbers[along[numbers].argmin()])
    return nearest, float(along[nearest])
