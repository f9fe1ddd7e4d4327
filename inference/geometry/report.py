"""Results of `inference.compare_geometry` as tables, CSV and pictures."""

from __future__ import annotations

import csv
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from anchorweave.clip import Clip
from anchorweave.evaluation.curves import curves
from anchorweave.evaluation.montage import contact_sheet, side_by_side
from inference.geometry.rows import Shown

# Number of target frames in shown.png.
PICTURED = 3
PICTURES = ("shown.png", "coverage_against_psnr.png", "psnr_by_frame.png")
# Rows are printed at this width, regardless of the terminal.
WIDTH = 140


def print_tables(results: dict) -> None:
    """Prints what is shown, what it costs, and explanatory notes."""
    rows = results["systems"]
    gaps = list(next(iter(rows.values()))["cross_view"])
    between = [f"{what}\n{gap} apart" for what in ("colour", "motion") for gap in gaps]
    quality = _table(
        "what the history shows of the target frames",
        "covers", "its frames\nsaw", "PSNR\nshown", "SSIM\nshown", "PSNR\nfilled",
        "PSNR\nall show", "SSIM\nall show", *between,
    )  # fmt: skip
    costs = _table(
        "what it costs",
        "disk (MB)", "to give (MB)", "memory (MB)", "update (ms/frame)", "retrieve (s)",
    )  # fmt: skip
    for name, row in rows.items():
        by_gap = [row["cross_view"][gap] or {} for gap in gaps]
        quality.add_row(
            name,
            _told(row["coverage"], ".1%"),
            _told(row["seen_by_chosen"], ".1%"),
            _told(row["psnr_visible"], ".2f"),
            _told(row["ssim_visible"], ".3f"),
            _told(row["psnr_filled"], ".2f"),
            _told(row["psnr_where_all"], ".2f"),
            _told(row["ssim_where_all"], ".3f"),
            *(_told(values.get("colour"), ".2f") for values in by_gap),
            *(_told(values.get("motion"), ".2f") for values in by_gap),
        )
        costs.add_row(
            name,
            *(f"{row[key] / 1e6:.2f}" for key in ("disk_bytes", "given_bytes", "memory_bytes")),
            f"{1e3 * row['update_seconds_per_frame']:.1f}",
            f"{row['retrieve_seconds']:.2f}",
        )
    console = Console()
    console.width = max(console.width, WIDTH)
    for part in (quality, costs, *remarks(results, gaps)):
        console.print(part, highlight=False)


def _table(title: str, *headings: str) -> Table:
    table = Table("memory", title=title)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def remarks(results: dict, gaps: list[str]) -> list[str]:
    """Notes that explain the table."""
    rows = results["systems"].values()
    lines = [
        f"all show: the {results['all_show']:.1%} of the pixels that all rendering rows show; "
        "filled: over all pixels, with the history's mean colour where a row shows nothing",
        "its frames saw: fraction of the pixels of known depth that the chosen frames saw; all "
        f"remembered frames together saw {_told(results['seen_by_any'], '.1%')}",
    ]
    if sum(row["system"] == "local_clouds" for row in rows) > 1:
        lines.append(
            "where all show, the fewest local memories do too, and a pixel is taken from the first "
            "that shows it: there, all rows of local memories are identical"
        )
    for gap in gaps:
        floor = [row["cross_view"][gap]["truth"] for row in rows if row["cross_view"][gap]]
        difference = next((value for value in floor if value is not None), None)
        lines.append(
            f"colour, motion, {gap} apart: in 8-bit levels and pixels, where all show and the true "
            "depth is known; the true frames themselves differ by "
            f"{_told(difference, '.2f')} levels"
        )
    lines.append(
        "disk: files of the bank that the system reads; to give: the part of it that it may "
        "still show or return; memory: arrays in main memory between two calls; seconds are CPU "
        f"time, including {results['store_seconds_per_frame']:.3f} per frame in update for files"
    )
    if undrawn := dict.fromkeys(row["system"] for row in rows if row["coverage"] is None):
        lines.append(
            f"-: {', '.join(undrawn)} has no geometry and renders nothing: using its frames is "
            "left to the network, so there are no pixels to compare"
        )
    if results["local_minus_fused_db"] is not None:
        lines.append(
            "on the pixels that the fewest local memories and the fused cloud both show: local "
            f"{results['local_db_where_both']:.2f} dB, fused {results['fused_db_where_both']:.2f} "
            f"dB, difference {results['local_minus_fused_db']:+.2f} dB"
        )
    return lines


def write_csv(systems: dict[str, dict], path: Path) -> None:
    """One line per row; per-frame values are only in the JSON."""
    lines = []
    for name, row in systems.items():
        line = {"name": name} | {key: row[key] for key in row if not key.endswith("_by_frame")}
        for gap, values in line.pop("cross_view").items():
            line |= {f"{key}_{gap}_apart": value for key, value in (values or {}).items()}
        lines.append(line)
    keys = list(dict.fromkeys(key for line in lines for key in line))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, keys)
        writer.writeheader()
        writer.writerows(lines)


def write_pictures(
    systems: dict[str, dict], shown: dict[str, Shown], target: Clip, output: Path
) -> None:
    """shown.png, and the two plots if any row shows anything."""
    drawn = {name: one.video for name, one in shown.items() if one.video is not None}
    times = torch.linspace(0, len(target) - 1, min(PICTURED, len(target))).round().long()
    videos = {name: video[times] for name, video in {"target": target.frames, **drawn}.items()}
    names = tuple(f"frame {time}" for time in times)
    pictures = {"shown.png": contact_sheet(side_by_side(videos), PICTURED, names)}
    rows = {name: row for name, row in systems.items() if row["psnr_visible"] is not None}
    frames = [float(time) for time in range(len(target))]
    if rows:
        pictures["coverage_against_psnr.png"] = curves(
            "PSNR on the pixels that are shown (dB)",
            "share of the target's pixels that are shown (%)",
            {name: [(100 * row["coverage"], row["psnr_visible"])] for name, row in rows.items()},
        )
        pictures["psnr_by_frame.png"] = curves(
            "PSNR on the pixels that are shown (dB)",
            "target frame",
            {
                name: list(zip(frames, row["psnr_by_frame"], strict=True))
                for name, row in rows.items()
            },
        )
    for name, picture in pictures.items():
        picture.save(output / name)


def _told(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
