"""PointCloud: coloured points in the world, from one frame or many."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anchorweave.files import atomic_write
from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.projection import unproject


@dataclass(frozen=True)
class PointCloud:
    """P coloured points.

    Args:
        points: world positions [P, 3], in the unit of the cameras they came from.
        colours: [P, 3] in [0, 1].
    """

    points: Float[Tensor, "P 3"]
    colours: Float[Tensor, "P 3"]

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, keep) -> PointCloud:
        return PointCloud(self.points[keep], self.colours[keep])


def cloud_from_frame(
    frame: Float[Tensor, "3 H W"], depth: Float[Tensor, "H W"], camera: Cameras
) -> PointCloud:
    """One point per pixel of valid depth (> 0), in raster order."""
    valid = depth > 0
    return PointCloud(unproject(depth, camera)[valid], frame.permute(1, 2, 0)[valid])


def depth_edges(depth: Float[Tensor, "*batch H W"], step: float) -> Bool[Tensor, "*batch H W"]:
    """True on pixels next to a depth discontinuity: "flying pixels" between two surfaces.

    Neighbours a and b count as discontinuous if |a - b| > step * min(a, b), and if the surface on
    either side, extrapolated as a plane, misses the other by as much: a wall at a grazing angle
    also has large steps, but regular ones. Along a plane 1 / depth is linear in the pixel.

    Args:
        depth: [..., H, W], 0 = invalid; invalid pixels neither are edges nor cause any.
        step: relative step in depth, > 0.
    """
    edge = torch.zeros_like(depth, dtype=torch.bool)
    for dim in (-2, -1):
        length = depth.shape[dim] - 1
        # Padding with one invalid pixel at either end gives every pair a neighbour on each side.
        padding = (1, 1) if dim == -1 else (0, 0, 1, 1)
        d = torch.nn.functional.pad(depth, padding)
        disparity = torch.where(d > 0, 1 / d, torch.zeros_like(d))
        before, a, b, after = (disparity.narrow(dim, i, length) for i in range(4))
        # |a - b| > step * min(a, b), divided by a * b.
        allowed = step * torch.minimum(a, b)
        jump = b - a
        from_a = (before == 0) | ((jump - (a - before)).abs() <= allowed)
        from_b = (after == 0) | ((jump - (after - b)).abs() <= allowed)
        on_a_plane = from_a & from_b & ((before > 0) | (after > 0))
        apart = (a > 0) & (b > 0) & (jump.abs() > allowed) & ~on_a_plane
        edge.narrow(dim, 0, length).logical_or_(apart)
        edge.narrow(dim, 1, length).logical_or_(apart)
    return edge


def save_ply(
    cloud: PointCloud, path: Path, origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> None:
    """Writes a binary PLY; colours are rounded to 8 bits.

    Args:
        cloud: the points.
        path: the file.
        origin: the cameras' origin, added in float64, so that the file holds the recording's own
            coordinates.

    Raises:
        OSError: the file cannot be written; no partial file is left.
    """
    import open3d as o3d

    legacy = o3d.geometry.PointCloud()
    legacy.points = o3d.utility.Vector3dVector(
        cloud.points.double().cpu().numpy() + np.array(origin)
    )
    legacy.colors = o3d.utility.Vector3dVector(cloud.colours.double().cpu().numpy())
    with atomic_write(path) as aside:
        if not o3d.io.write_point_cloud(str(aside), legacy):
            raise OSError(
                f"could not write {path}; check that its folder exists and the disk is not full"
            )


def load_ply(path: Path, dtype: torch.dtype = torch.float32) -> PointCloud:
    """Read a PLY; points without colour are white.

    Args:
        path: the file.
        dtype: dtype of the points; coordinates of millions of metres need float64.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file holds no points.
    """
    import open3d as o3d

    if not Path(path).is_file():
        raise FileNotFoundError(f"no point cloud at {path}")
    legacy = o3d.io.read_point_cloud(str(path))
    if not legacy.has_points():
        raise ValueError(f"{path} holds no points (empty, cut short, or not a PLY file)")
    points = torch.from_numpy(np.asarray(legacy.points)).to(dtype)
    colours = torch.ones(points.shape)
    if legacy.has_colors():
        colours = torch.from_numpy(np.asarray(legacy.colors)).float()
    return PointCloud(points, colours)
