"""TSDF fusion: frames with depth fused into one surface, averaging out inconsistent depth.

Every voxel near an observed surface stores the running mean of a truncated signed distance: the
distance along the viewing ray from the voxel to the observed depth, positive in front of it. The
surface is the zero crossing. Something that one frame saw and others looked through averages out;
a depth error in one frame moves the surface only by that frame's share. Voxels that no frame
observed stay unknown. Costs 20 bytes of main memory per voxel, about 18 voxels deep around every
surface.

From the paper (SPMem, 2506.05284): the running mean with weight 1 per frame, dropping voxels of
low weight, and a voxel size that grows once the scene's largest dimension exceeds 1200 voxels.
From its released code: a truncation of 5 voxels. Neither gives the growth factor; here voxels grow
in steps of 2 ** (1 / 4), which a growing scene rarely needs.

Only blocks of voxels near surfaces are stored (open3d's VoxelBlockGrid), with the values that one
dense grid would have: earlier frames are integrated into new blocks too. The map therefore depends
only on the frames and their order, not on how many were added at a time, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int32
from torch import Tensor

from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.point_cloud import PointCloud
from anchorweave.geometry.projection import unproject
from anchorweave.progress import progress

TRUNCATION = 5.0  # voxels in front of and behind a surface (released code)
STEPS_PER_DOUBLING = 4
BLOCK = 8  # voxels per side
VOXEL_BYTES = 20  # a distance, a weight and a colour of three channels, each of 4 bytes
FIRST_ROOM = 1024  # blocks
# open3d finds no surface where the distance is exactly 0, which happens when walls lie at round
# coordinates; so the grid is offset by this many voxels.
GRID_START = 0.381966
FARTHEST = 1e30  # no depth limit; open3d needs a finite value


class TsdfMap:
    """One surface fused from many frames.

    Args:
        voxel: voxel side while the scene is small, in the unit of the cameras.
        cap: maximum number of voxels along the scene's largest dimension; voxels grow in larger
            scenes.

    Raises:
        ValueError: a side that is not positive and finite, or a cap below 1.

    Source: SPMem (2506.05284).
    """

    def __init__(self, voxel: float, cap: int):
        if not 0 < voxel < float("inf"):
            raise ValueError(f"the voxel side must be positive and finite, got {voxel}")
        if cap < 1:
            raise ValueError(f"cap must be 1 voxel or more, got {cap}")
        self.voxel, self.cap = voxel, cap
        self._low = torch.full((3,), float("inf"), dtype=torch.float64)
        self._high = -self._low
        self._farthest: list[float] = []
        self._begin(voxel)

    def __len__(self) -> int:
        """Number of fused frames."""
        return self._fused

    @property
    def reserved_bytes(self) -> int:
        """Main memory of the allocated voxel blocks, in bytes."""
        return self._grid.hashmap().capacity() * BLOCK**3 * VOXEL_BYTES

    def grow(
        self,
        cameras: Cameras,
        depth: Callable[[int], Float[Tensor, "H W"]],
        frame: Callable[[int], Float[Tensor, "3 H W"]],
    ) -> None:
        """Fuses the frames that are not in the map yet, each with weight 1.

        Args:
            cameras: cameras of all N frames, those already in the map first.
            depth: depth(i) is the depth [H, W] of frame i, in the unit of `cameras`; 0 = unknown.
            frame: frame(i) is its colours [3, H, W] in [0, 1]. Earlier frames are requested again
                when new blocks lie in their view, and all of them when the voxels grow.

        Raises:
            ValueError: negative, NaN or infinite depth; the map is left unchanged.
        """
        low, high, farthest = self._low, self._high, self._farthest[: len(self)]
        for i in progress(range(len(self), len(cameras)), "measuring the scene"):
            seen = depth(i)
            if not ((seen >= 0) & seen.isfinite()).all():
                raise ValueError(
                    f"depth of frame {i} has negative, NaN or infinite values; "
                    "mark pixels without depth by 0"
                )
            points = _points(seen, cameras[i])
            farthest.append(seen.max().item())
            if len(points):
                low = torch.minimum(low, points.amin(dim=0))
                high = torch.maximum(high, points.amax(dim=0))
        self._low, self._high, self._farthest = low, high, farthest
        side = capped_side(self.voxel, (high - low).max().item(), self.cap)
        if side != self.side:
            self._begin(side)
        try:
            self._fuse(cameras, depth, frame)
        except BaseException:
            # Frames that are partly integrated would be added twice; the next call starts over.
            self._begin(side)
            raise

    def cloud(self, min_weight: int = 1) -> PointCloud:
        """The surface as points, at most a voxel apart, sorted by their coordinates.

        Args:
            min_weight: minimum number of frames, >= 1, that must have observed the voxels on both
                sides (as surface or as free space).

        Raises:
            ValueError: a weight below 1.
        """
        if min_weight < 1:
            raise ValueError(f"min_weight must be 1 or more, got min_weight={min_weight}")
        if not len(self._blocks):
            return PointCloud(torch.zeros(0, 3), torch.zeros(0, 3))
        # open3d keeps weights above the threshold; weights are whole numbers.
        surface = self._grid.extract_point_cloud(min_weight - 0.5).point
        points, colours = surface.positions.numpy(), surface.colors.numpy()
        # open3d's order of points differs from run to run.
        order = np.lexsort([*colours.T, *points.T[::-1]])
        points = torch.from_numpy(points[order].astype(np.float64)) - self._shift
        return PointCloud(points.float(), torch.from_numpy(colours[order]).clamp(0, 1))

    def _begin(self, side: float) -> None:
        """Starts an empty grid with voxels of `side`."""
        from open3d import core
        from open3d.t.geometry import VoxelBlockGrid

        self.side, self._fused = side, 0
        self._shift = GRID_START * side
        self._blocks = torch.zeros(0, 3, dtype=torch.int32)
        channels = {"tsdf": 1, "weight": 1, "color": 3}
        types, shapes = [core.float32] * 3, [core.SizeVector([c]) for c in channels.values()]
        self._grid = VoxelBlockGrid(
            list(channels), types, shapes, side, BLOCK, FIRST_ROOM, core.Device("CPU:0")
        )

    def _fuse(self, cameras: Cameras, depth: Callable, frame: Callable) -> None:
        old, new = len(self), range(len(self), len(cameras))
        fresh = [self._allocate(_points(depth(i), cameras[i])) for i in new]
        fresh = torch.cat([torch.zeros(0, 3, dtype=torch.int32), *fresh])
        self._blocks = torch.cat([self._blocks, fresh])
        for i in progress(range(len(cameras)), "fusing the map"):
            blocks = fresh if i < old else self._blocks
            visible = blocks[self._in_view(blocks, cameras[i], self._farthest[i])]
            if len(visible) and self._farthest[i]:
                self._integrate(visible, frame(i), depth(i), cameras[i])
        self._fused = len(cameras)

    def _allocate(self, points: Float[Tensor, "P 3"]) -> Int32[Tensor, "B 3"]:
        """Allocates blocks around surface points; returns the new blocks."""
        from open3d.t.geometry import PointCloud as Open3dCloud

        if not len(points):
            return torch.zeros(0, 3, dtype=torch.int32)
        cloud = Open3dCloud(_tensor((points + self._shift).float()))
        blocks = self._grid.compute_unique_block_coordinates(cloud, TRUNCATION)
        _, is_new = self._grid.hashmap().activate(blocks)
        return torch.from_numpy(blocks.numpy()[is_new.numpy()])

    def _in_view(
        self, blocks: Int32[Tensor, "B 3"], camera: Cameras, far: float
    ) -> Bool[Tensor, " B"]:
        """Blocks whose voxels a frame may observe; a superset, never too few."""
        exact, (height, width) = camera.to("cpu", torch.float64), camera.size
        centres = (blocks.double() + 0.5) * (BLOCK * self.side) - self._shift
        local = (centres - exact.centres) @ exact.c2w[:3, :3]
        column, row, ahead = exact.K
        planes = torch.stack([column, width * ahead - column, row, height * ahead - row, ahead])
        planes = planes / planes.norm(dim=1, keepdim=True)
        radius = math.sqrt(3) / 2 * BLOCK * self.side
        inside = (local @ planes.mT > -radius).all(dim=1)
        return inside & (local[:, 2] < far + TRUNCATION * self.side + radius)

    def _integrate(
        self,
        blocks: Int32[Tensor, "B 3"],
        frame: Float[Tensor, "3 H W"],
        depth: Float[Tensor, "H W"],
        camera: Cameras,
    ) -> None:
        from open3d.t.geometry import Image

        w2c = camera.to("cpu", torch.float64).w2c
        w2c[:3, 3] -= w2c[:3, :3].sum(dim=1) * self._shift
        # open3d skips the last row and column, so one of each without depth is appended.
        border = (0, 1, 0, 1)
        depth = torch.nn.functional.pad(depth.cpu().float(), border)
        frame = torch.nn.functional.pad(frame.cpu().float(), border)
        self._grid.integrate(
            _tensor(blocks),
            Image(_tensor(depth[..., None])),
            Image(_tensor(frame.permute(1, 2, 0))),
            _tensor(camera.K.cpu().double()),
            _tensor(w2c),
            depth_scale=1.0,
            depth_max=FARTHEST,
            trunc_voxel_multiplier=TRUNCATION,
        )


def capped_side(voxel: float, extent: float, cap: int) -> float:
    """The voxel side for a scene: `voxel`, or larger if `extent` spans more than `cap` voxels.

    Args:
        voxel: the side in a small scene.
        extent: the scene's largest dimension, in the same unit; negative if the scene is empty.
        cap: maximum number of voxels along it.

    Source: SPMem; the steps of 2 ** (1 / 4) are ours.
    """
    if extent <= cap * voxel:
        return voxel
    steps = math.ceil(STEPS_PER_DOUBLING * math.log2(extent / (cap * voxel)))
    return voxel * 2 ** (steps / STEPS_PER_DOUBLING)


def _points(depth: Tensor, camera: Cameras) -> Float[Tensor, "P 3"]:
    """The world points of a frame, in float64."""
    exact = depth.to("cpu", torch.float64)
    return unproject(exact, camera.to("cpu", torch.float64))[exact > 0]


def _tensor(values: Tensor):
    """The same values as an open3d tensor."""
    from open3d import core

    return core.Tensor(values.contiguous().numpy())
