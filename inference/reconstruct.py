"""Estimate the cameras of a plain video or a folder of photographs, and write a recording.

    python -m inference.reconstruct source=walk.mp4 output=data/walk
    python -m inference.reconstruct source=photographs output=data/walk recording.field_of_view=65
    python -m inference.reconstruct source=walk.mp4 reconstruction.between=interpolate

Runs COLMAP on the CPU (one or two seconds per frame) and needs no network and no weights. `output`
becomes a COLMAP project: images/, sparse/0/ and reconstruction.json. The scale is arbitrary. It has
no depth: use perception=plane_sweep, or a depth network.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from anchorweave.command import Command
from anchorweave.config import load_config
from anchorweave.recordings import RecordingConfig
from anchorweave.recordings.reconstruction import ReconstructionConfig, reconstruct


@dataclass(frozen=True)
class ReconstructConfig:
    """What is reconstructed.

    Args:
        source: a video file, or a folder of photographs from one camera; required.
        output: the recording's folder, which must not exist yet.
        recording: `intrinsics` in pixels of the footage if known, or `field_of_view` as an initial
            value.
        reconstruction: options of the reconstruction.
    """

    source: str | None = None
    output: str = "outputs/reconstruction"
    recording: RecordingConfig = field(default_factory=RecordingConfig)
    reconstruction: ReconstructionConfig = field(default_factory=ReconstructionConfig)


def main(words: list[str]) -> None:
    """Reconstruct with `a.b=c` overrides."""
    config = load_config(ReconstructConfig, words)
    if config.source is None:
        raise ValueError(
            "source= is missing: give a video, as in source=walk.mp4, or a folder of photographs "
            "from one camera"
        )
    began = time.perf_counter()
    output = Path(config.output)
    report = reconstruct(Path(config.source), output, config.reconstruction, config.recording)
    print("\n".join(report.lines()))
    print(f"{output}: written in {time.perf_counter() - began:.0f} s; source={output} opens it")


COMMAND = Command(main, ReconstructConfig)

if __name__ == "__main__":
    COMMAND.run()
