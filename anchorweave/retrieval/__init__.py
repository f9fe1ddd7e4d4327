"""Retrieval: which memories to use for which target frames (paper section 3.3)."""

from anchorweave.retrieval.choices import CHOICES
from anchorweave.retrieval.coarse_views import CoarseViews, coarse_views, join_coarse_views
from anchorweave.retrieval.selection import RetrievalConfig, chunks, select

__all__ = [
    "CHOICES",
    "CoarseViews",
    "RetrievalConfig",
    "chunks",
    "coarse_views",
    "join_coarse_views",
    "select",
]
