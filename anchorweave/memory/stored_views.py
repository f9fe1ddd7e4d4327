"""A bank's coarse views, cached beside its frames, so that opening it decodes no image.

    BANK/views-XXXXXXXX.bin     one record per frame, in order: the checksum of the source depth
                                image, its depth as computed by `coarse_views`, and a checksum of
                                that; XXXXXXXX is a hash of the two settings that affect it

A pure cache: records that are torn, damaged or made from another image are recomputed from the
image, as are all if the file is missing. It is written when frames are added, never when a bank is
only read.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.files import bytes_sum
from anchorweave.memory.bank import Bank
from anchorweave.progress import progress
from anchorweave.retrieval import CoarseViews, coarse_views
from anchorweave.retrieval.coarse_views import coarse_size

# Incremented when coarse depth is computed differently.
VERSION = 1


class StoredViews:
    """The coarse views of a bank, read from their cache file as far as it is valid.

    Args:
        bank: the bank.
        depth_edge: see `Bank.clean_depth`.
        downscale: see `coarse_views`.
    """

    def __init__(self, bank: Bank, depth_edge: float, downscale: int):
        self.bank, self._edge, self._downscale = bank, depth_edge, downscale
        self._depth: Float[Tensor, "M h w"] | None = None
        # Number of leading records verified against the bank's frames.
        self._stored = 0

    @property
    def path(self) -> Path:
        """The cache file, specific to these settings."""
        of = (VERSION, float(self._edge), self._downscale, self.bank.depth_unit, self._size())
        return self.bank.path / f"views-{bytes_sum(repr(of).encode())[:8]}.bin"

    def views(self) -> CoarseViews:
        """The coarse views of all M >= 1 frames of the bank.

        Raises:
            ValueError: a required depth image is not the one that was written.
        """
        depth = self._known()
        cameras = self.bank.cameras.to("cpu").resized(self._size())
        return CoarseViews(depth, cameras, self.bank.names)

    def store(self) -> None:
        """Writes the records that the file lacks, rewriting those of earlier frames with them.

        Raises:
            OSError: they could not be written.
        """
        depth = self._known()
        added = np.zeros(len(depth) - self._stored, self._record())
        for record, i in zip(added, range(self._stored, len(depth)), strict=True):
            record["picture"] = (self.bank.depth_sum(i) or "").encode()
            record["depth"] = depth[i].numpy()
            record["sum"] = zlib.crc32(record["depth"].tobytes())
        if len(added):
            with self.path.open("r+b" if self.path.exists() else "wb") as file:
                file.seek(self._stored * added.itemsize)
                file.write(added.tobytes())
                file.truncate()
        self._stored = len(depth)

    def _known(self) -> Float[Tensor, "M h w"]:
        done = 0 if self._depth is None else len(self._depth)
        if done == len(self.bank):
            return self._depth
        # Nothing is cached yet for frames that are being added.
        records = self._records() if self._depth is None else self._nothing()
        new = torch.zeros(len(self.bank) - done, *self._size())
        # One at a time: full-size depth maps of thousands of memories would not fit in main memory.
        for i in progress(range(done, len(self.bank)), "reading the memory bank"):
            if self._holds(records, i):
                new[i - done] = torch.from_numpy(records[i]["depth"].copy())
                self._stored += self._stored == i
            else:
                index = slice(i, i + 1)
                depth = self.bank.clean_depth(i, self._edge)[None]
                camera, name = self.bank.cameras[index], self.bank.names[index]
                new[i - done] = coarse_views(depth, camera, name, self._downscale).depth[0]
        self._depth = new if self._depth is None else torch.cat([self._depth, new])
        return self._depth

    def _holds(self, records: np.ndarray, i: int) -> bool:
        """Whether record `i` exists and matches the image that the bank lists."""
        wanted = self.bank.depth_sum(i)
        if wanted is None or i >= len(records):
            return False
        record = records[i]
        same = record["picture"] == wanted.encode()
        return bool(same and zlib.crc32(record["depth"].tobytes()) == record["sum"])

    def _records(self) -> np.ndarray:
        if not self.path.is_file():
            return self._nothing()
        # An interrupted write may leave a partial last record, which does not count.
        whole = self.path.stat().st_size // self._record().itemsize
        return np.fromfile(self.path, self._record(), whole)

    def _nothing(self) -> np.ndarray:
        return np.zeros(0, self._record())

    def _record(self) -> np.dtype:
        return np.dtype([("picture", "S16"), ("sum", "<u4"), ("depth", "<f4", self._size())])

    def _size(self) -> tuple[int, int]:
        return coarse_size(self.bank.cameras.size, self._downscale)
