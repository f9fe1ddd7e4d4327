r"""Measure how much the frames of a recording disagree about what both see, without any network.

    python -m inference.disagreement source=my_recording
    python -m inference.disagreement \
        'source=[my_recording, "procedural:seed=900..907,frames=100,size=64x96,errors=1"]'

Compares pairs of frames at several temporal distances by projecting points of one into the other.
For each source, prints by distance, and writes to `output`, the median and the 90th percentile of
the relative depth difference, the colour shift in pixels, and PSNR. A verdict follows: fine, a
wrong depth unit, a wrong K, world-to-camera instead of camera-to-world poses, other axes, or
inconsistent frames for an unknown reason. The errors of procedural rooms are calibrated by these
numbers (`recordings/procedural_rooms/reconstruction_errors.py`).
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from anchorweave.clip import Clip, join_clips
from anchorweave.command import Command
from anchorweave.config import load_config
from anchorweave.evaluation.contradiction import verdict
from anchorweave.evaluation.disagreement import CommonView, common_view
from anchorweave.files import write_json
from anchorweave.progress import progress
from anchorweave.recordings import Recording, RecordingConfig, open_recording
from anchorweave.recordings.framing import colours_as_seen_by_depth, reframed
from anchorweave.recordings.procedural_rooms.recording import PREFIX, one_room_each

# Number of frames, spread over a recording, that the verdict is based on.
JUDGED = 24
NUMBERS = ("depth_median", "depth_p90", "shift_median", "psnr")


@dataclass(frozen=True)
class DisagreementConfig:
    """What is compared.

    Args:
        source: a recording with depth, or a list of them, compared separately; a procedural
            description may give a range of seeds (seed=0..7), whose rooms are pooled.
        missing: what to do with frames that a recording lists but does not hold.
        recording: overrides for what the recordings state.
        output: the JSON file to write.
        size: (height, width) that frames are cropped and resized to.
        gaps: temporal distances, in frames of the recording.
        pairs: number of frame pairs per distance and recording, spread over its length.
        least_share: pairs with a smaller fraction of common points, in [0, 1], are skipped.
        colour_focal: focal length of the colour camera relative to that of the depth camera; other
            than 1 only if a device has two cameras and its images were not registered (7-Scenes:
            525/585 = 0.897). Colours are cropped to the depth camera's view before comparing.

    Raises:
        ValueError: no source, distances or pairs, or a fraction or focal length out of range.
    """

    source: Any = "data/example_dataset"
    missing: str = "error"
    recording: RecordingConfig = field(default_factory=RecordingConfig)
    output: str = "outputs/disagreement.json"
    size: tuple[int, int] = (64, 96)
    gaps: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    pairs: int = 12
    least_share: float = 0.2
    colour_focal: float = 1.0

    def __post_init__(self):
        if not self.source:
            raise ValueError(f"source={self.source} lists no recordings")
        if not self.gaps or min(self.gaps) < 1:
            raise ValueError(f"gaps={list(self.gaps)}: give distances in frames, as [1,8,64]")
        if self.pairs < 1:
            raise ValueError(f"pairs={self.pairs} must be 1 or more")
        if not 0 < self.least_share <= 1:
            raise ValueError(f"least_share={self.least_share} must be in (0, 1]")
        if not 0.5 <= self.colour_focal <= 1:
            raise ValueError(f"colour_focal={self.colour_focal} must be in [0.5, 1]")


def main(words: Sequence[str]) -> None:
    """Measure with `a.b=c` overrides."""
    config = load_config(DisagreementConfig, words)
    sources = [config.source] if isinstance(config.source, str) else config.source
    if not isinstance(sources, list) or not all(isinstance(source, str) for source in sources):
        raise ValueError(f"source={config.source}: give a recording, or [RECORDING,...]")
    results = {source: measure(config, source) for source in sources}
    command = shlex.join(["python", "-m", "inference.disagreement", *words])
    output = Path(config.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_json({"command": command, "settings": asdict(config), "sources": results}, output)
    print_tables(results)


def measure(config: DisagreementConfig, source: str) -> dict:
    """The numbers for one source, by distance and over all pairs, and its verdict.

    If a source stands for several rooms, the verdict is the first that is not fine.

    Raises:
        ValueError: a recording without depth or frames, or consistent frames with nothing in
            common.
    """
    words = one_room_each(source) if source.split(":")[0] == PREFIX else [source]
    views, verdicts = {gap: [] for gap in config.gaps}, []
    for description in progress(words, f"comparing the frames of {source}"):
        recording = open_recording(description, config.missing, config.recording)
        if not (recording.has_depth and recording.has_frames):
            raise ValueError(f"{recording.path}: needs both frames and depth")
        frame = lru_cache(maxsize=len(recording))(partial(_one, config, recording))
        for gap, found in common_views(config, len(recording), frame).items():
            views[gap] += found
        at = np.unique(np.linspace(0, len(recording) - 1, JUDGED).round().astype(int))
        verdicts.append(verdict(join_clips([frame(i) for i in at.tolist()])))
    conclusion = next(
        (description for description in verdicts if description.kind != "fine"), verdicts[0]
    )
    views = {gap: found for gap, found in views.items() if found}
    if not views and not conclusion.fault:
        raise ValueError(
            f"{source}: no two frames at distances {list(config.gaps)} share "
            f"{config.least_share:.0%} of their points; give smaller gaps or least_share"
        )
    by_gap = {str(gap): numbers(found) for gap, found in views.items()}
    overall = numbers(sum(views.values(), [])) if views else None
    return {
        "by_gap": by_gap,
        "overall": overall,
        "verdict": {**asdict(conclusion), "line": conclusion.line()},
    }


def common_views(
    config: DisagreementConfig, count: int, frame: Callable[[int], Clip]
) -> dict[int, list[CommonView]]:
    """The common views of pairs among `count` frames, by temporal distance."""
    views = {}
    for gap in config.gaps:
        last = count - 1 - gap
        starts = np.unique(np.linspace(0, last, config.pairs).round()) if last >= 0 else []
        both = [common_view(frame(int(i)), frame(int(i) + gap)) for i in starts]
        views[gap] = [view for view in both if view.share >= config.least_share]
    return views


def numbers(views: Sequence[CommonView]) -> dict:
    """Statistics of `views`: depth over all points; shift in pixels and PSNR in dB over pairs."""
    depth = np.concatenate([view.difference.numpy() for view in views])
    shifts = [view.shift for view in views if view.shift is not None]
    return {
        "pairs": len(views),
        "depth_median": float(np.quantile(depth, 0.5)),
        "depth_p90": float(np.quantile(depth, 0.9)),
        "shift_median": float(np.median(shifts)) if shifts else None,
        "psnr": float(np.mean([view.psnr for view in views])),
    }


def print_tables(results: dict) -> None:
    """Prints one table per source."""
    console = Console()
    for source, result in results.items():
        table = Table(title=source)
        for heading in ("frames apart", "pairs", *NUMBERS):
            table.add_column(heading)
        rows = [*result["by_gap"].items(), ("all", result["overall"])] if result["overall"] else []
        for gap, row in rows:
            cells = ["-" if row[key] is None else f"{row[key]:.4f}" for key in NUMBERS]
            table.add_row(gap, str(row["pairs"]), *cells)
        console.print(table)
        line = result["verdict"]["line"]
        console.print(f"verdict: {line}", markup=False, highlight=False, soft_wrap=True)


def _one(config: DisagreementConfig, recording: Recording, i: int) -> Clip:
    clip = recording.clip([i])
    if config.colour_focal != 1:
        clip = colours_as_seen_by_depth(clip, config.colour_focal)
    return reframed(clip, config.size)


COMMAND = Command(main, DisagreementConfig)

if __name__ == "__main__":
    COMMAND.run()
