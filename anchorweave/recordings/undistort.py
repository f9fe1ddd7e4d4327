"""Lens undistortion, by resampling into a pinhole image of the same focal lengths."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import grid_sample

from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.projection import pixel_centres


@dataclass(frozen=True)
class Lens:
    """OpenCV's radial-tangential lens model; all zeros = an ideal pinhole.

    Args:
        k1: radial coefficients of r^2 (k1), r^4 (k2), r^6 (k3) and r^8 (k4, nerfstudio's).
        k2: see k1.
        k3: see k1.
        k4: see k1.
        p1: tangential coefficients.
        p2: see p1.
    """

    k1: float = 0.0
    k2: float = 0.0
    k3: float = 0.0
    k4: float = 0.0
    p1: float = 0.0
    p2: float = 0.0

    def distort(self, rays: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
        """The distorted image position of a ray (x/z, y/z) seen through this lens.

        Source: OpenCV, camera calibration and 3D reconstruction, "detailed description".
        """
        x, y = rays.unbind(-1)
        r2 = x * x + y * y
        radial = 1 + r2 * (self.k1 + r2 * (self.k2 + r2 * (self.k3 + r2 * self.k4)))
        return torch.stack(
            [
                x * radial + 2 * self.p1 * x * y + self.p2 * (r2 + 2 * x * x),
                y * radial + self.p1 * (r2 + 2 * y * y) + 2 * self.p2 * x * y,
            ],
            dim=-1,
        )


@dataclass(frozen=True)
class Fisheye(Lens):
    """OpenCV's equidistant fisheye; k1 to k4 are coefficients of the angle, no tangential ones.

    All zeros are an ideal fisheye, whose image radius grows with the angle rather than its tangent.
    """

    def distort(self, rays: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
        """The distorted image position of a ray (x/z, y/z) seen through this lens.

        Source: OpenCV, fisheye camera model.
        """
        r = rays.norm(dim=-1, keepdim=True)
        angle = r.atan()
        a2 = angle * angle
        bent = angle * (1 + a2 * (self.k1 + a2 * (self.k2 + a2 * (self.k3 + a2 * self.k4))))
        return torch.where(r > 1e-8, rays * bent / r.clamp(min=1e-8), rays)


def positions(lens: Lens, camera: Cameras) -> Float[Tensor, "H W 2"]:
    """For every pinhole pixel, its position in the distorted image (x, y in pixels)."""
    focal = camera.K.diagonal()[:2]
    principal = camera.K[:2, 2]
    rays = (pixel_centres(camera.size, camera.K) - principal) / focal
    return lens.distort(rays) * focal + principal


def undistorted(
    image: Float[Tensor, "C H W"], lens: Lens, camera: Cameras, mode: str = "bilinear"
) -> Float[Tensor, "C H W"]:
    """`image` as seen by an ideal pinhole with the K of `camera`; 0 where the lens saw nothing.

    Args:
        image: the distorted image [C, H, W].
        lens: the lens.
        camera: one camera of that image's size.
        mode: "bilinear" for colours, "nearest" for depth.
    """
    H, W = camera.size
    grid = positions(lens, camera) * 2 / camera.K.new_tensor([W, H]) - 1
    # The border pixels' outer halves lie outside the pixel centres: "border" avoids fading there.
    sampled = grid_sample(image[None], grid[None], mode, "border", align_corners=False)[0]
    return sampled * (grid.abs() <= 1).all(-1)


def seen_window(lenses: Iterable[tuple[Lens, Cameras]]) -> tuple[int, int, tuple[int, int]]:
    """Top, left and size of a window in which every lens of one image size saw every pixel.

    Undistorting a pincushion lens leaves black borders, which are not observed colours, so readers
    crop them.
    """
    seen: Bool[Tensor, "H W"] | None = None
    for lens, camera in lenses:
        limits = camera.K.new_tensor([camera.size[1], camera.size[0]])
        at = positions(lens, camera)
        inside = ((at >= 0) & (at <= limits)).all(-1)
        seen = inside if seen is None else seen & inside
    top, left, bottom, right = 0, 0, *seen.shape
    while not seen[top:bottom, left:right].all():
        window = ~seen[top:bottom, left:right]
        # Remove the outermost line of the side with the largest unseen fraction.
        shares = [
            line.float().mean().item()
            for line in (window[0], window[:, 0], window[-1], window[:, -1])
        ]
        worst = shares.index(max(shares))
        top, left = top + (worst == 0), left + (worst == 1)
        bottom, right = bottom - (worst == 2), right - (worst == 3)
    return top, left, (bottom - top, right - left)
