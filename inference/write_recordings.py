"""Write recordings in nerfstudio's format, with images at one size.

    python -m inference.write_recordings source=procedural:seed=6 output=outputs/room images=jpg
    python -m inference.write_recordings source=procedural:seed=0..9,size=64x96 output=outputs/rooms

For rooms that are used repeatedly: reading a frame is faster than rendering it. Several recordings
become one folder each below `output`; existing ones are kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from anchorweave.command import Command
from anchorweave.config import load_config
from anchorweave.files import atomic_write
from anchorweave.locks import making
from anchorweave.progress import progress
from anchorweave.recordings import RecordingConfig, open_recording, write_recording
from anchorweave.recordings.base import CAPTION
from anchorweave.recordings.search import find_recordings


@dataclass(frozen=True)
class WriteConfig:
    """What is written.

    Args:
        source: a recording, a folder with recordings at any depth, a "procedural:..." description,
            or a list of these.
        missing: what to do with frames that a recording lists but does not hold.
        recording: overrides for what the recordings state.
        output: the recording's folder, or the parent folder if there are several.
        size: (height, width) that frames are cropped and resized to; null = each recording's own.
        images: `png` is lossless, `jpg` small.
        depth_unit: length of one depth step, in the unit of the poses.
    """

    source: Any = "procedural:seed=0"
    missing: Literal["error", "skip"] = "error"
    recording: RecordingConfig = field(default_factory=RecordingConfig)
    output: str = "outputs/recordings"
    size: tuple[int, int] | None = None
    images: Literal["png", "jpg"] = "png"
    depth_unit: float = 0.001


def main(words: list[str]) -> None:
    """Write with `a.b=c` overrides."""
    config = load_config(WriteConfig, words)
    recordings = find_recordings(config.source)
    for name, path in progress(recordings.items(), "writing recordings", len(recordings)):
        output = Path(config.output) / name if len(recordings) > 1 else Path(config.output)
        if output.exists():
            print(f"{output}: exists already")
            continue
        recording = open_recording(path, config.missing, config.recording)
        clip = recording.clip(range(len(recording)), config.size)
        with making(output), atomic_write(output) as aside:
            write_recording(clip, aside, config.depth_unit, f".{config.images}")
            if (caption := recording.caption()) is not None:
                (aside / CAPTION).write_text(caption + "\n")
        height, width = clip.cameras.size
        print(f"{output}: {len(clip)} frames of {height}x{width}", flush=True)


COMMAND = Command(main, WriteConfig)

if __name__ == "__main__":
    COMMAND.run()
