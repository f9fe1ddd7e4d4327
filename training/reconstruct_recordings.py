r"""Estimates the cameras of many plain videos, so that clips can be prepared from them.

    python -m training.reconstruct_recordings source=videos output=data/mine
    PROCESSES=16 bash scripts/reconstruct.sh source=videos output=data/mine
    bash scripts/prepare_data.sh source=data/mine perception=plane_sweep

`inference.reconstruct` for every video and every folder of photographs in `source`, distributed
over processes. A second run makes only what is missing. Videos that cannot be reconstructed are
reported at the end, each with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from anchorweave.command import Command
from anchorweave.config import load_config
from anchorweave.datasets.fingerprint import check_made, flat
from anchorweave.recordings import RecordingConfig
from anchorweave.recordings.reconstruction import (
    REPORT,
    ReconstructionConfig,
    made_of,
    reconstruct,
)
from anchorweave.recordings.search import find_footage
from training.preparing.one_run import one_run_in
from training.preparing.sharding import Shard, Tally


@dataclass(frozen=True)
class ReconstructRecordingsConfig:
    """What is reconstructed.

    Args:
        source: a video, a folder of photographs from one camera, a folder with several of these at
            any depth, or a list; required.
        output: folder that gets one recording each, named like the video.
        recording: `intrinsics` in pixels of the footage if known, or `field_of_view` as an initial
            value; the same for all.
        reconstruction: options of the reconstruction.
    """

    source: Any = None
    output: str = "data/reconstructed"
    recording: RecordingConfig = field(default_factory=RecordingConfig)
    reconstruction: ReconstructionConfig = field(default_factory=ReconstructionConfig)


def main(words: Sequence[str]) -> None:
    """Reconstructs this process's share of the footage, with `a.b=c` overrides."""
    config = load_config(ReconstructRecordingsConfig, words)
    if config.source is None:
        raise ValueError("source= is missing: name a folder with videos, as in source=videos")
    footage = find_footage(config.source)
    shard, output = Shard(cpu=True), Path(config.output)
    with one_run_in(output):
        shard.console.print(f"reconstructing {len(footage)} video(s) into {output}", markup=False)
        tally = shard.run(list(footage.items()), partial(_one, config), "videos")
        shard.finish(tally, f"recordings in {output}")


def _one(config: ReconstructRecordingsConfig, entry: tuple[str, str]) -> Tally:
    """Reconstructs the footage (name, path); an existing recording of other options is an error."""
    name, source = entry[0], Path(entry[1])
    output = Path(config.output) / name
    if output.exists():
        if not (output / REPORT).is_file():
            return Tally(failed={name: f"{output} exists, and is no reconstruction; remove it"})
        now = flat(made_of(source, config.reconstruction, config.recording))
        there = flat(json.loads((output / REPORT).read_text()))
        stored = {key: value for key, value in there.items() if key in now}
        check_made(output, stored, now, "give another output=, or remove it to have it made again")
        return Tally(there=1)
    try:
        reconstruct(source, output, config.reconstruction, config.recording)
    except (ValueError, FileNotFoundError, RuntimeError) as error:
        return Tally(failed={name: str(error)})
    return Tally(made=1)


COMMAND = Command(main, ReconstructRecordingsConfig)

if __name__ == "__main__":
    COMMAND.run()
