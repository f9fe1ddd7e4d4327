"""Small views of a memory's frames, whatever the system: those for retrieval, and finer ones."""

from __future__ import annotations

import threading

import torch

from anchorweave.geometry.cameras import Cameras
from anchorweave.memory import Bank
from anchorweave.memory.stored_views import StoredViews
from anchorweave.retrieval import CoarseViews, coarse_views
from inference.explorer.config import ExploreConfig

# Height of the views used for visibility queries, for at most this many memories (24 kB each);
# beyond it, retrieval's coarse views are used.
SIGHT_ROWS, SIGHT_MEMORIES = 64, 2_000


class Views:
    """Views of one bank, read on first use.

    Args:
        config: config of the run.
        bank: the bank.
    """

    def __init__(self, config: ExploreConfig, bank: Bank):
        self.config, self.bank = config, bank
        self._coarse = StoredViews(bank, config.memory.depth_edge, config.retrieval.downscale)
        self._fine: CoarseViews | None = None
        # A separate lock, so that reading views does not block retrieval.
        self._lock = threading.RLock()

    def coarse(self) -> CoarseViews:
        """The coarse views used by retrieval."""
        with self._lock:
            return self._read_coarse()

    def fine(self) -> CoarseViews:
        """Views that are fine enough to separate surfaces."""
        with self._lock:
            return self._read_fine()

    def _read_coarse(self) -> CoarseViews:
        if len(self.bank):
            return self._coarse.views()
        size = tuple(self.config.size)
        none = Cameras(torch.eye(4).expand(0, 4, 4), torch.eye(3).expand(0, 3, 3), size)
        return coarse_views(torch.zeros(0, *size), none, (), self.config.retrieval.downscale)

    def _read_fine(self) -> CoarseViews:
        downscale = max(round(self.config.size[0] / SIGHT_ROWS), 1)
        if not 0 < len(self.bank) <= SIGHT_MEMORIES or downscale >= self.config.retrieval.downscale:
            return self.coarse()
        if self._fine is None:
            edge = self.config.memory.depth_edge
            self._fine = StoredViews(self.bank, edge, downscale).views()
        return self._fine
