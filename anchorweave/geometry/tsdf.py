"""TSDF fusion: many frames with depth as one surface, in which inconsistent depth averages out.

Every voxel near a surface that any frame showed keeps the mean of a truncated signed distance:
along the viewing direction from the voxel to what each frame saw, positive before it. The surface
is where the mean changes its sign. A thing that one frame saw and others looked through is averaged
out; a depth error of one frame moves the surface by its share only. What no frame saw clearly
stays unknown. Costs 20 bytes of main memory a voxel, some 18 voxels deep at every surface.

From the paper (SPMem, 2506.05284): the running mean with a weight of 1 a frame, what
has a low weight drops out, and voxels that grow where the largest dimension of the scene is more
than 1200 of them. From its released code: the truncation of 5 voxels. Neither says how much they
grow, so here they do so in steps of a fourth of a doubling, which a growing scene takes rarely.

Only blocks of voxels near surfaces are kept, in open3d's VoxelBlockGrid, yet with the values that
one dense grid would have: earlier frames are integrated into a new block too. Hence the map depends
    on the
frames in their order alone, not on how many came at a time, to the last bit.
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

TRUNCATION = 5.0  # voxels before and behind a surface (released code)
STEPS_PER_DOUBLING = 4
BLOCK = 8  # voxels a side
VOXEL_BYTES = 20  # a distance, a weight and a colour of three channels, each of 4 bytes
FIRST_ROOM = 1024  # blocks
# open3d finds no surface where a distance is exactly 0, which happens where walls lie at round
# numbers; the grid therefore begins at none, in voxels.
GRID_START = 0.381966
FARTHEST = 1e30  # no limit of depth; open3d needs a finite one


class TsdfMap:
    """One surface fused of many frames.

    Args:
        voxel: side of a voxel while the scene is small, in the unit of the cameras.
        cap: the scene's largest dimension may have so many voxels; in a larger scene they grow.

    Raises:
        ValueError: a side that is not positive and finite, or a cap below 1.

    Source: SPMem (2506.05284).
    """

    def __init__(self, voxel: float, cap: int):
        if not 0 < voxel < float("inf"):
            raise ValueError(f"the side of a voxel must be positive and finite, met {voxel}")
        if cap < 1:
            raise ValueError(f"a scene has 1 voxel or more at its largest dimension, met {cap}")
        self.voxel, self.cap = voxel, cap
        self._low = torch.full((3,), float("inf"), dtype=torch.float64)
        self._high = -self._low
        self._farthest: list[float] = []
        self._begin(voxel)

    def __len__(self) -> int:
        """How many frames are fused."""
        return self._fused

    @property
    def reserved_bytes(self) -> int:
        """Main memory of the allocated blocks of voxels."""
        return self._grid.hashmap().capacity() * BLOCK**3 * VOXEL_BYTES

    def grow(
        self,
        cameras: Cameras,
        depth: Callable[[int], Float[Tensor, "H W"]],
        frame: Callable[[int], Float[Tensor, "3 H W"]],
    ) -> None:
        """Fuses the frames that are not in the map yet, each with weight 1.

        Args:
            cameras: of all N frames, those that are in the map first.
            depth: depth(i) is the depth [H, W] of frame i, in the unit of `cameras`; 0 = unknown.
            frame: frame(i) is its colours [3, H, W] in [0, 1]. Earlier frames are asked for again
                where new blocks lie in their view, and all of them when the voxels grow.

        Raises:
            ValueError: a depth that is negative, NaN or infinite; the map is as it was.
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
            # Frames that are half in would be added twice; the next call begins anew.
            self._begin(side)
            raise

    def cloud(self, min_weight: int = 1) -> PointCloud:
        """The surface as points, at most a voxel apart, sorted by their coordinates.

        Args:
            min_weight: number of frames, 1 or more, that must have observed the voxels on both
                sides: the surface itself, or free space.

        Raises:
            ValueError: a weight below 1.
        """
        if min_weight < 1:
            raise ValueError(f"a surface is seen by 1 frame or more, met min_weight={min_weight}")
        if not len(self._blocks):
            return PointCloud(torch.zeros(0, 3), torch.zeros(0, 3))
        # open3d keeps what is above the threshold; weights are whole numbers.
        surface = self._grid.extract_point_cloud(min_weight - 0.5).point
        points, colours = surface.positions.numpy(), surface.colors.numpy()
        # It finds them in an order that differs from run to run.
        order = np.lexsort([*colours.T, *points.T[::-1]])
        points = torch.from_numpy(points[order].astype(np.float64)) - self._shift
        return PointCloud(points.float(), torch.from_numpy(colours[order]).clamp(0, 1))

    def _begin(self, side: float) -> None:
        """An empty grid of voxels of `side`."""
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
            met = blocks[self._in_view(blocks, cameras[i], self._farthest[i])]
            if len(met) and self._farthest[i]:
                self._integrate(met, frame(i), depth(i), cameras[i])
        self._fused = len(cameras)

    def _allocate(self, points: Float[Tensor, "P 3"]) -> Int32[Tensor, "B 3"]:
        """Allocates blocks around surface points; returns the new ones."""
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
        # open3d leaves out the last row and column; one more without depth takes their place.
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
    """The side of the voxels of a scene: `voxel`, or more if `extent` is more than `cap` of them.

    Args:
        voxel: the side in a small scene.
        extent: the scene's largest dimension, in the same unit; negative if it shows nothing.
        cap: how many voxels it may have.

    Source: SPMem; the steps of 2 ** (1 / 4) are ours.
    """
    if extent <= cap * voxel:
        return voxel
    steps = math.ceil(STEPS_PER_DOUBLING * math.log2(extent / (cap * voxel)))
    return voxel * 2 ** (steps / STEPS_PER_DOUBLING)


def _points(depth: Tensor, camera: Cameras) -> Float[Tensor, "P 3"]:
    """The points of a frame in the world, in float64."""
    exact = depth.to("cpu", torch.float64)
    return unproject(exact, camera.to("cpu", torch.float64))[exact > 0]


def _tensor(values: Tensor):
    """The same values for open3d."""
    from open3d import core

    return core.Tensor(values.contiguous().numpy())
