"""Which clips a report shows, and their videos: the truth, what memory shows, every row."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor

from anchorweave.datasets.fingerprint import digest
from anchorweave.evaluation.report_page import Tile
from anchorweave.evaluation.vector_plots import number
from anchorweave.video import write_video
from inference.cached_row import CachedRow
from inference.results_folder import MeasuredRow, label


def spread(values: Mapping[str, float], count: int) -> dict[str, str]:
    """`count` clips from the lowest to the highest value, evenly over their ranks.

    Args:
        values: clip -> value.
        count: how many; all if there are fewer. One is the one in the middle.

    Returns:
        clip -> its place in words, such as "lowest" or "rank 3 of 5".
    """
    order = sorted(values, key=lambda clip: (values[clip], clip))
    last, count = len(order) - 1, min(count, len(order))
    ranks = [last // 2] if count == 1 else np.linspace(0, last, count).astype(int).tolist()
    words = {last // 2: "the median", 0: "the lowest", last: "the highest" if last else "the only"}
    return {order[r]: words.get(r, f"rank {r + 1} of {last + 1} from the lowest") for r in ranks}


def open_measured(
    folders: Mapping[str, CachedRow], results: dict, where: str
) -> dict[str, CachedRow]:
    """The rows whose videos were measured.

    Args:
        folders: the rows that were found, by name.
        results: what results.json says.
        where: where they were looked for.

    Raises:
        FileNotFoundError: a row that was measured is not there.
        ValueError: a row was made anew with something else since.
    """
    for name, measured in results["rows"].items():
        if name not in folders:
            raise FileNotFoundError(
                f"row {name} was measured, but is not in {where}; say where its videos are with "
                "rows=, or leave videos out with clips=0"
            )
        found = digest(folders[name].record()["made"])
        if found != measured["fingerprint"]:
            raise ValueError(
                f"{folders[name].path} (fingerprint {found}) was made with something else than the "
                f"row {name} that was measured ({measured['fingerprint']}); measure again"
            )
    return {name: folders[name] for name in results["rows"]}


def clip_tiles(
    clip: str,
    rows: Mapping[str, CachedRow],
    measured: Mapping[str, MeasuredRow],
    seeds: int,
    fps: int,
) -> tuple[list[Tile], int]:
    """What is known of one clip, and how many frames it has (0: no video is there).

    Args:
        clip: its name.
        rows: where the videos are, by name.
        measured: the numbers of the same rows.
        seeds: how many of each row's seeds are shown, the first ones.
        fps: frames per second.
    """
    known, size, frames = _known_tiles(clip, rows, fps)
    tiles = []
    for name, row in rows.items():
        numbers = {(v.clip, v.seed): v for v in measured[name].videos}
        for seed in row.record()["seeds"][:seeds]:
            title = f"{name}, seed {seed}"
            if not row.has_sample(clip, seed):
                note = f"no video: {row.path} lacks seed {seed} of this clip"
                tiles.append((title, None, {}, note))
                continue
            video, _ = row.read_sample(clip, seed)
            size, frames = tuple(video.shape[-2:]), len(video)
            found = numbers.get((clip, seed))
            values = {} if found is None else found.values
            shown = {label(m): number(v) for m, v in values.items()}
            note = "" if found is not None else "not measured: no numbers in the results"
            tiles.append((title, _mp4(video, fps), shown, note))
    return [*known, *(Tile(name, video, size, *rest) for name, video, *rest in tiles)], frames


def _known_tiles(
    clip: str, rows: Mapping[str, CachedRow], fps: int
) -> tuple[list[Tile], tuple[int, int], int]:
    """The truth once, and what memory shows once for all rows to which it shows the same."""
    truth, size, frames = None, (1, 1), 0
    anchors: dict[bytes, tuple[list[str], Tensor, float]] = {}
    for name, row in rows.items():
        if not row.has_given(clip):
            continue
        given = row.read_given(clip)
        truth = given.truth if truth is None else truth
        if given.anchors is not None:
            key = given.anchors.numpy().tobytes()
            share = given.shown.float().mean().item()
            anchors.setdefault(key, ([], given.anchors, share))[0].append(name)
    tiles = []
    if truth is not None:
        size, frames = tuple(truth.shape[-2:]), len(truth)
        tiles.append(Tile("truth", _mp4(truth, fps), size))
    for names, video, share in anchors.values():
        size, frames = tuple(video.shape[-2:]), len(video)
        shown = {"pixels shown": f"{share:.0%}"}
        tiles.append(Tile("anchors", _mp4(video, fps), size, shown, f"of {', '.join(names)}"))
    return tiles, size, frames


def _mp4(video: Float[Tensor, "T 3 H W"], fps: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        write_video(path, video, fps)
        return path.read_bytes()


def chosen_clips(
    wanted: int | Sequence[str], measured: Mapping[str, MeasuredRow], by: str, metric: str
) -> dict[str, str]:
    """Clip -> why it is shown.

    Args:
        wanted: how many, spread over row `by`'s `metric`; or the clips' names.
        measured: the rows.
        by: a row's name.
        metric: one that it has.

    Raises:
        ValueError: a clip that no row knows.
    """
    values = measured[by].per_clip(metric)
    if isinstance(wanted, int):
        chosen = spread(values, wanted)
        return {
            clip: f"{place} of {by} by {label(metric)}: {number(values[clip])}"
            for clip, place in chosen.items()
        }
    known = {clip for row in measured.values() for clip in row.record()["clips"]}
    if unknown := [clip for clip in wanted if clip not in known]:
        raise ValueError(f"clips: {', '.join(unknown)} are none of the {len(known)} clips measured")
    return dict.fromkeys(wanted, "asked for by name")
