"""What a run found, as JSON to keep and tables to read."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from jaxtyping import Float
from rich.console import Console
from rich.table import Table
from torch import Tensor

from anchorweave.anchors import Anchors, ChunkReport, composite
from anchorweave.evaluation.image_metrics import psnr, ssim
from anchorweave.files import written_aside
from anchorweave.holes import fill_holes


def measure(
    video: Float[Tensor, "T 3 H W"], truth: Float[Tensor, "T 3 H W"], anchors: Anchors
) -> dict:
    """How near the generated video and the anchors themselves come to the true target frames.

    Frame 0 is given to the model, so the generated video is measured from frame 1 on; anchors are
    measured on the pixels they see.

    Returns:
        `generated` with psnr and ssim; `anchors`, one entry per slot and one for the `composite`
        (each pixel from the first slot that sees it), with coverage in [0, 1] and psnr in dB;
        `composite_filled`, measured as the generated video is: the composite with its holes
        filled, which is what anyone could show without a network.
    """
    slots = [
        _anchor(v, visible, truth)
        for v, visible in zip(anchors.video, anchors.visible, strict=True)
    ]
    found = {"generated": _whole(video, truth), "anchors": {"slots": slots}}
    if slots:
        video, shown = composite(anchors)
        found["anchors"]["composite"] = _anchor(video, shown, truth)
        found["anchors"]["composite_filled"] = _whole(fill_holes(video, shown, "filled"), truth)
    return found


def _whole(video: Tensor, truth: Tensor) -> dict:
    return {"psnr": psnr(video[1:], truth[1:]), "ssim": ssim(video[1:], truth[1:])}


def _anchor(video: Tensor, visible: Tensor, truth: Tensor) -> dict:
    return {
        "coverage": visible.float().mean().item(),
        "psnr_visible": psnr(video, truth, visible),
    }


def selection(report: tuple[ChunkReport, ...], target_names: tuple[str, ...]) -> list[dict]:
    """The retrieval report with the names of the target frames, ready for JSON."""
    return [
        {**asdict(chunk), "target_frames": list(target_names[chunk.start : chunk.stop])}
        for chunk in report
    ]


def write_json(values: dict | list, path: Path) -> None:
    """Write JSON aside, then rename."""
    with written_aside(path) as aside:
        aside.write_text(json.dumps(values, indent=1) + "\n")


def print_report(console: Console, metrics: dict, report: tuple[ChunkReport, ...]) -> None:
    """Two tables: what was retrieved, and how good it is."""
    chosen = Table(title="retrieved memories")
    for heading in ("target frames", "pool", "slot: frame (newly covered)", "coverage", "stopped"):
        chosen.add_column(heading)
    for chunk in report:
        picks = ", ".join(
            f"{pick.slot}: {pick.name} ({'forced, ' if pick.forced else ''}{pick.gain:.0%})"
            for pick in chunk.picks
        )
        coverage = f"{chunk.picks[-1].coverage:.0%}" if chunk.picks else "0%"
        span = f"{chunk.start}-{chunk.stop - 1}"
        chosen.add_row(span, str(chunk.pool), picks or "none", coverage, chunk.stopped)
    console.print(chosen)
    shown = any(slot["coverage"] > 0 for slot in metrics["anchors"]["slots"])
    if not shown and not any(chunk.picks for chunk in report):
        console.print(
            "memory shows nothing of the target: the first frame is all there is to go by"
        )
    table = Table(title="against the true target frames")
    for heading in ("what", "coverage", "PSNR (dB)", "SSIM"):
        table.add_column(heading)
    whole = {"generated": metrics["generated"]}
    if filled := metrics["anchors"].get("composite_filled"):
        whole["anchors, composite, holes filled"] = filled
    for name, row in whole.items():
        table.add_row(name, "100%", f"{row['psnr']:.2f}", f"{row['ssim']:.3f}")
    rows = [(f"anchor {slot}", row) for slot, row in enumerate(metrics["anchors"]["slots"])]
    if rows:
        rows.append(("anchors, composite", metrics["anchors"]["composite"]))
    for name, row in rows:
        quality = "-" if row["psnr_visible"] is None else f"{row['psnr_visible']:.2f}"
        table.add_row(name, f"{row['coverage']:.0%}", quality, "")
    console.print(table)
