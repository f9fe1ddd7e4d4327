r"""Compare what each memory system shows of future frames, without any network.

    python -m inference.compare_geometry source=my_recording output=outputs/geometry
    python -m inference.compare_geometry source=KITCHEN colour_focal=0.8974   # 7-Scenes: 525 / 585

The first part of an RGB-D recording is the history, the rest the target. Every system remembers the
same history: local clouds, of which the best K are rendered per chunk of target frames; one fused
cloud at several voxel sizes; a TSDF map; plain frames. What they show is compared with the true
target frames: coverage, accuracy on the pixels that each shows and on those that all show,
self-consistency across views (`evaluation/cross_view.py`), and cost. Plain frames render nothing
themselves; for them, as for all, the table gives the fraction of the target that the chosen frames
saw. Moving objects, if the recording marks them, are neither remembered nor compared. A history
with inconsistent frames triggers a warning (`check`). Prints two tables and writes to `output`, all
or
none: geometry.json, geometry.csv, shown.png (some target frames and what each system shows of
them), coverage_against_psnr.png and psnr_by_frame.png.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import torch

from anchorweave.clip import Clip, join_clips
from anchorweave.command import Command
from anchorweave.config import load_config
from anchorweave.datasets.splits import split_frames
from anchorweave.evaluation.contradiction import check_memories
from anchorweave.evaluation.coverage import coverage
from anchorweave.evaluation.image_metrics import psnr
from anchorweave.file_sets import written_together
from anchorweave.files import write_json
from anchorweave.locks import in_use
from anchorweave.memory import Bank
from anchorweave.perception import make_perception
from anchorweave.progress import progress
from anchorweave.recordings import Recording, open_recording
from anchorweave.recordings.framing import colours_as_seen_by_depth, reframed
from inference.geometry.config import CompareConfig, fused_name, local_name, rows_of
from inference.geometry.report import PICTURES, print_tables, write_csv, write_pictures
from inference.geometry.rows import (
    Shown,
    chosen_frames,
    cost,
    measure,
    seen_share,
    show,
    still_pixels,
)

# This many warm-up frames compile and load everything before timing starts.
WARM_UP = 2


def main(words: list[str]) -> None:
    """Compare with `a.b=c` overrides."""
    config = load_config(CompareConfig, words)
    with in_use(config.output):
        compare_recording(config)


def compare_recording(config: CompareConfig) -> None:
    """Compares, with the output locked."""
    recording = open_recording(config.source, config.missing, config.recording)
    history, target = history_and_target(config, recording)
    counted = f"{len(history)} frames of history, {len(target)} of target"
    print(f"{recording.path.name}: {counted}", flush=True)
    check_memories(history, config.check, str(recording.path))
    with tempfile.TemporaryDirectory() as folder:
        results, shown = compare(config, history, target, Path(folder))
    memory = {key: value for key, value in asdict(config.memory).items() if key != "path"}
    named = ("split", "retrieval", "rendering")
    settings = {"memory": memory, **{name: asdict(getattr(config, name)) for name in named}}
    counts = {"history_frames": len(history), "target_frames": len(target)}
    # The recording's path is private.
    about = {"recording": recording.path.name, "colour_focal": config.colour_focal}
    output = Path(config.output)
    about |= {"size": target.cameras.size, **counts}
    with written_together(output, ("geometry.json", "geometry.csv", *PICTURES)) as aside:
        write_json({**about, **results, "settings": settings}, aside / "geometry.json")
        write_csv(results["systems"], aside / "geometry.csv")
        write_pictures(results["systems"], shown, target, aside)
    print_tables(results)


def history_and_target(config: CompareConfig, recording: Recording) -> tuple[Clip, Clip]:
    """The clip to remember, with its depth, and the clip to compare with.

    Raises:
        ValueError: a recording without depth (and no estimation), or with too few frames.
    """
    if not recording.has_depth and config.perception.kind == "recorded":
        raise ValueError(
            f"{recording.path}: holds no depth, which memories need; estimate it with "
            "perception=plane_sweep"
        )
    native, count = recording.cameras.size, len(recording)
    size = (config.height, round(config.height * native[1] / native[0]))
    first = config.split.start + round((count - config.split.start) * config.split.history)
    split = split_frames(count, count - first, config.split)
    if not split.history or len(split.target) <= min(config.gaps):
        raise ValueError(
            f"{recording.path}: {count} frames give {len(split.history)} of history and "
            f"{len(split.target)} of target, but at least 1 and {min(config.gaps) + 1} are needed: "
            "use a longer recording, or set split.start, split.history or gaps"
        )
    history, target = (_read(config, recording, i, size) for i in (split.history, split.target))
    return make_perception(config.perception.kind, config.perception)(history), target


def _read(config: CompareConfig, recording: Recording, indices, size: tuple[int, int]) -> Clip:
    if config.colour_focal == 1:
        return recording.clip(indices, size)
    own = (colours_as_seen_by_depth(recording.clip([i]), config.colour_focal) for i in indices)
    return join_clips([reframed(clip, size) for clip in own])


def compare(
    config: CompareConfig, history: Clip, target: Clip, folder: Path
) -> tuple[dict, dict[str, Shown]]:
    """Every system remembers `history` and shows what it knows from the cameras of `target`.

    Args:
        config: which systems, and options.
        history: with depth.
        target: the true frames; where depth is 0 (unknown), disagreement is not measured.
        folder: temporary storage of the history; missing or empty.

    Returns:
        Numbers of every row under `systems`; K = min(`anchors`) local memories against the fused
        cloud with `memory.global_cloud.voxel` on the pixels that both show, if both are compared;
        and what each row shows.
    """
    rows = rows_of(config, history)
    warm = Bank(folder / "warm")
    warm.append(history[:WARM_UP])
    for row in rows.values():
        show(row, warm, target.cameras[:WARM_UP])
    bank = Bank(folder / "bank")
    begun = time.process_time()
    bank.append(history)
    store_seconds = time.process_time() - begun
    shown = {
        name: show(row, bank, target.cameras)
        for name, row in progress(rows.items(), "retrieving and rendering", len(rows))
    }
    drawn = [one.visible for one in shown.values() if one.visible is not None]
    still = still_pixels(target)
    all_show = torch.stack([still, *drawn]).all(dim=0) if drawn else torch.zeros_like(still)
    fill = history.frames.mean(dim=(0, 2, 3))
    results = {
        name: {
            **rows[name].told,
            **measure(one, target, all_show, fill, config.gaps),
            "seen_by_chosen": seen_share(chosen_frames(one.report, len(target)), bank, target),
            **cost(one, len(history), store_seconds),
        }
        for name, one in progress(shown.items(), "measuring", len(shown))
    }
    return {
        "all_show": coverage(all_show, still),
        "seen_by_any": seen_share([range(len(bank))] * len(target), bank, target),
        "store_seconds_per_frame": store_seconds / len(history),
        "systems": results,
        **local_against_fused(config, shown, target),
    }, shown


def local_against_fused(config: CompareConfig, shown: dict[str, Shown], target: Clip) -> dict:
    """The paper's central claim: the fewest local memories against the fused cloud, in dB."""
    local = shown.get(local_name(min(config.anchors)))
    fused = shown.get(fused_name(config.memory.global_cloud.voxel))
    names = ("local_db_where_both", "fused_db_where_both", "local_minus_fused_db")
    if local is None or fused is None:
        return dict.fromkeys(names)
    both = local.visible & fused.visible & still_pixels(target)
    dbs = [psnr(shown_row.video, target.frames, both) for shown_row in (local, fused)]
    return dict(zip(names, [*dbs, None if None in dbs else dbs[0] - dbs[1]], strict=True))


COMMAND = Command(main, CompareConfig)

if __name__ == "__main__":
    COMMAND.run()
