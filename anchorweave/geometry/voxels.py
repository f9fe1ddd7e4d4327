"""Sparse voxels: space divided into cubes, of which only occupied ones are stored.

`Voxels` numbers them; `FusedCloud` averages the coloured points in each. Both grow incrementally:
the cost of adding points does not depend on the number of stored voxels.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int64
from numba import njit
from torch import Tensor

from anchorweave.geometry.point_cloud import PointCloud

COMPILED = {"nogil": True, "cache": True, "error_model": "numpy"}
# Initial capacity in voxels; doubled when exceeded.
FIRST_ROOM = 1024


class Voxels:
    """Numbers the voxels of a grid 0, 1, 2, ... in the order of first occupancy.

    Voxel (i, j, k) holds the points from side * (i, j, k) up to side * (i + 1, j + 1, k + 1).

    Args:
        side: voxel side, in the unit of the points.

    Raises:
        ValueError: a side that is not positive and finite.
    """

    def __init__(self, side: float):
        if not 0 < side < float("inf"):
            raise ValueError(f"the voxel side must be positive and finite, got {side}")
        self.side = side
        self._count = 0
        self._cells = np.empty((FIRST_ROOM, 3), np.int64)
        # An open-addressing hash table, at most half full: the voxel's number, or -1.
        self._table = np.full(2 * FIRST_ROOM, -1, np.int64)

    def __len__(self) -> int:
        return self._count

    def add(self, points: Float[Tensor, "P 3"]) -> Int64[Tensor, " P"]:
        """The numbers [P] of the voxels that contain the points; new voxels get the next numbers.

        Raises:
            ValueError: a point with a NaN or infinite coordinate.
        """
        cells = self._cells_of(points)
        self._make_room(self._count + len(cells))
        numbers = np.empty(len(cells), np.int64)
        self._count = _add(cells, self._cells, self._table, self._count, numbers)
        return torch.from_numpy(numbers)

    def find(self, points: Float[Tensor, "P 3"]) -> Int64[Tensor, " P"]:
        """The numbers [P] of the voxels that contain the points; -1 for voxels not added yet.

        Raises:
            ValueError: a point with a NaN or infinite coordinate.
        """
        cells = self._cells_of(points)
        numbers = np.empty(len(cells), np.int64)
        _find(cells, self._cells, self._table, numbers)
        return torch.from_numpy(numbers)

    def _cells_of(self, points: Tensor) -> np.ndarray:
        if not points.isfinite().all():
            raise ValueError("a point has a NaN or infinite coordinate and lies in no voxel")
        return torch.floor(points.cpu() / self.side).long().contiguous().numpy()

    def _make_room(self, voxels: int) -> None:
        if voxels <= len(self._cells):
            return
        room = max(voxels, 2 * len(self._cells))
        self._cells = _grown(self._cells, room)
        # A power of two: the table index is then the low bits of the hash.
        self._table = np.full(1 << (2 * room - 1).bit_length(), -1, np.int64)
        _enter(self._cells, self._table, self._count)


class FusedCloud:
    """Many clouds fused into one: one point per voxel, with the mean position and colour in it.

    Args:
        side: voxel side, in the unit of the points.

    Raises:
        ValueError: a side that is not positive and finite.

    Source: Spatia, section 3.1.
    """

    def __init__(self, side: float):
        self.voxels = Voxels(side)
        self._sums = np.zeros((FIRST_ROOM, 6))
        self._counts = np.zeros(FIRST_ROOM, np.int64)

    def __len__(self) -> int:
        return len(self.voxels)

    def add(self, cloud: PointCloud) -> None:
        """Fuses one more cloud."""
        numbers = self.voxels.add(cloud.points).numpy()
        if len(self) > len(self._counts):
            room = max(len(self), 2 * len(self._counts))
            self._sums, self._counts = _grown(self._sums, room), _grown(self._counts, room)
        values = torch.cat([cloud.points, cloud.colours], dim=1).double().cpu().numpy()
        _accumulate(values, numbers, self._sums, self._counts)

    def cloud(self) -> PointCloud:
        """The averaged points [V], in the order in which their voxels were first occupied."""
        mean = torch.from_numpy(self._sums[: len(self)] / self._counts[: len(self), None]).float()
        return PointCloud(mean[:, :3].contiguous(), mean[:, 3:].contiguous())


def _grown(array: np.ndarray, room: int) -> np.ndarray:
    """A copy with `room` rows, padded with 0."""
    grown = np.zeros((room, *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    return grown


@njit(**COMPILED)
@no_type_check
def _place(x, y, z, cells, table):
    """The table slot that holds the cell, or the free slot where it belongs."""
    # Large odd factors, then a shift: neighbouring cells must not share their low bits.
    mixed = x * 73856093 + y * 19349663 + z * 83492791
    mixed = (mixed ^ (mixed >> 15)) * 2246822519
    place = (mixed ^ (mixed >> 13)) & (table.size - 1)
    while True:
        number = table[place]
        if number < 0:
            return place
        if cells[number, 0] == x and cells[number, 1] == y and cells[number, 2] == z:
            return place
        place = (place + 1) & (table.size - 1)


@njit(**COMPILED)
@no_type_check
def _add(new, cells, table, count, numbers):
    for p in range(len(new)):
        x, y, z = new[p, 0], new[p, 1], new[p, 2]
        place = _place(x, y, z, cells, table)
        if table[place] < 0:
            cells[count, 0], cells[count, 1], cells[count, 2] = x, y, z
            table[place] = count
            count += 1
        numbers[p] = table[place]
    return count


@njit(**COMPILED)
@no_type_check
def _find(asked, cells, table, numbers):
    for p in range(len(asked)):
        numbers[p] = table[_place(asked[p, 0], asked[p, 1], asked[p, 2], cells, table)]


@njit(**COMPILED)
@no_type_check
def _enter(cells, table, count):
    for number in range(count):
        table[_place(cells[number, 0], cells[number, 1], cells[number, 2], cells, table)] = number


@njit(**COMPILED)
@no_type_check
def _accumulate(values, numbers, sums, counts):
    for p in range(len(numbers)):
        counts[numbers[p]] += 1
        for c in range(values.shape[1]):
            sums[numbers[p], c] += values[p, c]
