"""A content-based identifier of a recording, independent of its path."""

from __future__ import annotations

import hashlib

from anchorweave.recordings.base import Recording

# This much of each file is read at its start, middle and end, so that thousands of frames are fast.
PART_BYTES = 1 << 13
# Omitted from the hash at this value, for compatibility with identifiers of earlier versions.
USUAL_DEPTH_UNIT = 1e-3


def content_of(recording: Recording, captioned: bool = True) -> str:
    """A short identifier of a recording's content: its frame names, cameras, caption and files.

    Files are identified by their sizes and parts of their content: compressed images of different
    content differ nearly everywhere.

    Args:
        recording: a recording read from files.
        captioned: whether its caption counts.

    Raises:
        OSError: a file cannot be read.
        ValueError: an empty caption.
    """
    digest = hashlib.sha256("\n".join(recording.names).encode())
    caption = recording.caption() if captioned else None
    digest.update(repr((recording.cameras.size, caption)).encode())
    unit = getattr(recording, "depth_unit", USUAL_DEPTH_UNIT)
    if unit != USUAL_DEPTH_UNIT:
        digest.update(f"a step of depth is {unit!r}".encode())
    for part in (recording.cameras.c2w, recording.cameras.K):
        digest.update(part.contiguous().numpy().tobytes())
    for path in recording.files():
        size = path.stat().st_size
        digest.update(f"{size}\n".encode())
        with path.open("rb") as file:
            for start in sorted({0, max(size // 2, 0), max(size - PART_BYTES, 0)}):
                file.seek(start)
                digest.update(file.read(PART_BYTES))
    return digest.hexdigest()[:16]
