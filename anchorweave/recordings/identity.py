"""What a recording is, wherever it lies and whatever it is called."""

from __future__ import annotations

import hashlib

from anchorweave.recordings.base import Recording

# Of each file this much is read at its start, middle and end: thousands of frames in a moment.
PART_BYTES = 1 << 13


def content_of(recording: Recording) -> str:
    """A short name for a recording's content: of its frames' names, cameras, caption and files.

    Files are told by their sizes and by parts of them: compressed pictures of other things differ
    nearly everywhere.

    Raises:
        OSError: a file cannot be read.
        ValueError: a caption that is empty.
    """
    found = hashlib.sha256("\n".join(recording.names).encode())
    found.update(repr((recording.cameras.size, recording.caption())).encode())
    for part in (recording.cameras.c2w, recording.cameras.K):
        found.update(part.contiguous().numpy().tobytes())
    for path in recording.files():
        size = path.stat().st_size
        found.update(f"{size}\n".encode())
        with path.open("rb") as file:
            for start in sorted({0, max(size // 2, 0), max(size - PART_BYTES, 0)}):
                file.seek(start)
                found.update(file.read(PART_BYTES))
    return found.hexdigest()[:16]
