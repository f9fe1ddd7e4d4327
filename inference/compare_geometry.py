"""Local memories against one fused cloud, without any network: the paper's central claim.

    python -m inference.compare_geometry source=my_recording output=outputs/geometry

The first part of an RGB-D recording is the history, the rest the target. The same cleaned history
frames are kept as local clouds, of which the best K are rendered per chunk of target frames, and
are fused into one cloud, one averaged point per voxel of side `memory.global_cloud.voxel`. Both are
drawn by the same renderer and compared with the true target frames on the pixels that they see.
Prints a table and writes geometry.json to `output`.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from anchorweave.anchors import composite
from anchorweave.clip import Clip
from anchorweave.config import load_config
from anchorweave.datasets.splits import SplitConfig, split_frames
from anchorweave.evaluation.image_metrics import psnr
from anchorweave.memory import Bank, GlobalCloud, LocalClouds, MemoryConfig
from anchorweave.perception import PerceptionConfig, make_perception
from anchorweave.recordings import open_recording
from anchorweave.rendering.anchor_video import RenderConfig
from anchorweave.retrieval import RetrievalConfig
from inference.report import write_json


@dataclass(frozen=True)
class CompareConfig:
    """What is compared.

    Args:
        source: a recording; see `recordings.open_recording`.
        missing: what to do with frames that it lists but does not hold.
        output: the folder for geometry.json.
        height: image height in pixels; the width keeps the aspect.
        anchors: the numbers K of local memories.
        split: what is history and what is target; `split.kind=later` uses every target frame.
    """

    source: str = "data/example_dataset"
    missing: str = "error"
    output: str = "outputs/geometry"
    height: int = 240
    anchors: tuple[int, ...] = (1, 2, 4)
    split: SplitConfig = field(default_factory=lambda: SplitConfig(kind="later"))
    perception: PerceptionConfig = field(default_factory=PerceptionConfig)
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    retrieval: RetrievalConfig = field(default_factory=lambda: RetrievalConfig(forced="none"))
    rendering: RenderConfig = field(default_factory=RenderConfig)

    def __post_init__(self):
        if self.height < 16:
            raise ValueError(f"height={self.height} pixels is too small to compare; 16 or more")
        if not self.anchors or min(self.anchors) < 1:
            raise ValueError(f"anchors={list(self.anchors)}: give numbers of memories, as [1,2,4]")


def main(words: list[str]) -> None:
    """Compare with `a.b=c` overrides."""
    config = load_config(CompareConfig, words)
    recording = open_recording(config.source, config.missing)
    native = recording.cameras.size
    size = (config.height, round(config.height * native[1] / native[0]))
    first = config.split.start + round((len(recording) - config.split.start) * config.split.history)
    split = split_frames(len(recording), len(recording) - first, config.split)
    history = recording.clip(split.history, size)
    history = make_perception(config.perception.kind, config.perception)(history)
    with tempfile.TemporaryDirectory() as folder:
        results = compare(config, history, recording.clip(split.target, size), Path(folder))
    output = Path(config.output)
    output.mkdir(parents=True, exist_ok=True)
    settings = {"source": config.source, "size": size, "voxel": config.memory.global_cloud.voxel}
    counts = {"history_frames": len(split.history), "target_frames": len(split.target)}
    write_json({**settings, **counts, **results}, output / "geometry.json")
    print_table(results)


def compare(config: CompareConfig, history: Clip, target: Clip, folder: Path) -> dict:
    """Coverage and PSNR of each way to remember `history`, seen from the cameras of `target`.

    Returns:
        `local` by K and `fused`, each with coverage in [0, 1] and psnr_visible in dB, and
        `local_minus_fused_db`: K = 1 against fused on the pixels that both see.
    """
    memory = LocalClouds(Bank(folder), config.memory, config.retrieval, config.rendering)
    memory.update(history)
    fused_memory = GlobalCloud(memory.bank, config.memory, config.retrieval, config.rendering)
    fused_video, fused_seen = composite(fused_memory.retrieve(target.cameras).anchors)
    results = {
        "fused": _row(fused_video, fused_seen, target),
        "fused_points": len(fused_memory.cloud),
    }
    results["local"] = {}
    for count in config.anchors:
        memory.retrieval = replace(config.retrieval, anchors=count)
        video, seen = composite(memory.retrieve(target.cameras).anchors)
        results["local"][str(count)] = _row(video, seen, target)
        if count == min(config.anchors):
            both = seen & fused_seen
            local_db = psnr(video, target.frames, both)
            fused_db = psnr(fused_video, target.frames, both)
            results["local_db_where_both"], results["fused_db_where_both"] = local_db, fused_db
            results["local_minus_fused_db"] = (
                None if local_db is None or fused_db is None else local_db - fused_db
            )
    return results


def _row(video: torch.Tensor, seen: torch.Tensor, target: Clip) -> dict:
    return {
        "coverage": seen.float().mean().item(),
        "psnr_visible": psnr(video, target.frames, seen),
    }


def print_table(results: dict) -> None:
    """The comparison as a table."""
    table = Table(title="what history shows of the target frames")
    for heading in ("memory", "coverage", "PSNR on visible pixels (dB)"):
        table.add_column(heading)
    rows = {f"local, K={count}": row for count, row in results["local"].items()}
    rows["one fused cloud"] = results["fused"]
    for name, row in rows.items():
        quality = "-" if row["psnr_visible"] is None else f"{row['psnr_visible']:.2f}"
        table.add_row(name, f"{row['coverage']:.1%}", quality)
    console = Console()
    console.print(table)
    if results["local_minus_fused_db"] is not None:
        console.print(
            f"on the pixels that both see: local K=1 {results['local_db_where_both']:.2f} dB, "
            f"fused {results['fused_db_where_both']:.2f} dB, "
            f"difference {results['local_minus_fused_db']:+.2f} dB"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
