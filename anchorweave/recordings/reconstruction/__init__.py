"""Reconstructs cameras from plain footage: a video or a folder of photographs."""

from __future__ import annotations

from anchorweave.recordings.reconstruction.config import ReconstructionConfig
from anchorweave.recordings.reconstruction.find import REPORT, made_of, reconstruct
from anchorweave.recordings.reconstruction.footage import is_footage
from anchorweave.recordings.reconstruction.report import (
    NotReconstructedError,
    ReconstructionReport,
)

__all__ = [
    "REPORT",
    "NotReconstructedError",
    "ReconstructionConfig",
    "ReconstructionReport",
    "is_footage",
    "made_of",
    "reconstruct",
]
