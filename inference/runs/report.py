"""Results of a run, as JSON and as tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from statistics import fmean

from jaxtyping import Float
from rich.console import Console
from rich.table import Table
from torch import Tensor

from anchorweave.anchors import Anchors, ChunkReport, composite
from anchorweave.evaluation.coverage import coverage
from anchorweave.evaluation.image_metrics import psnr, ssim
from anchorweave.holes import fill_holes

# Videos of the main job, by their names in metrics.json.
VIDEOS = ("generated", "without_memory")
# Column of the table by key.
QUALITY = {
    "psnr_all": "PSNR, all pixels (dB)",
    "ssim_all": "SSIM, all pixels",
    "psnr_visible": "PSNR where anchors show (dB)",
}


def measure(
    videos: Mapping[str, Float[Tensor, "T 3 H W"]],
    truth: Float[Tensor, "T 3 H W"],
    anchors: Anchors,
) -> dict:
    """Compares generated videos and the anchors themselves with the true target frames.

    Frame 0 is given to the model, so videos are measured from frame 1 on; anchors are measured on
    the pixels they see.

    Args:
        videos: generated videos by name.
        truth: the true frames, in [0, 1].
        anchors: the anchors.

    Returns:
        For each video's name `psnr_all` in dB and `ssim_all`, over all pixels, and `psnr_visible`,
        over those that any anchor shows. Under `anchors`, one entry per slot and one for the
        `composite` (each pixel from the first slot that sees it), with `coverage` in [0, 1] and
        `psnr_visible`, for the composite also `coverage_by_frame`; `composite_filled`, measured
        like videos: the composite with its holes filled, a baseline without any network. None if no
        pixel counts.
    """
    slots = [
        _anchor(v, visible, truth)
        for v, visible in zip(anchors.video, anchors.visible, strict=True)
    ]
    composed, seen = composite(anchors)
    results: dict = {name: _whole(video, truth, seen) for name, video in videos.items()}
    results["anchors"] = {"slots": slots}
    if slots:
        by_frame = [coverage(one) for one in seen]
        results["anchors"]["composite"] = {
            **_anchor(composed, seen, truth),
            "coverage_by_frame": by_frame,
        }
        filled = fill_holes(composed, seen, "filled")
        results["anchors"]["composite_filled"] = _whole(filled, truth, seen)
    return results


def _whole(video: Tensor, truth: Tensor, shown: Tensor) -> dict:
    return {
        "psnr_all": psnr(video[1:], truth[1:]),
        "ssim_all": ssim(video[1:], truth[1:]),
        "psnr_visible": psnr(video[1:], truth[1:], shown[1:]),
    }


def _anchor(video: Tensor, visible: Tensor, truth: Tensor) -> dict:
    return {"coverage": coverage(visible), "psnr_visible": psnr(video, truth, visible)}


def selection(report: tuple[ChunkReport, ...], target_names: tuple[str, ...]) -> list[dict]:
    """The retrieval report with the names of the target frames, ready for JSON.

    Gain and coverage of picks refer to the coarse views used for selection, and are named
    accordingly.
    """
    chunks = []
    for chunk in report:
        picks = [_pick(asdict(pick)) for pick in chunk.picks]
        frames = list(target_names[chunk.start : chunk.stop])
        chunks.append({**asdict(chunk), "picks": picks, "target_frames": frames})
    return chunks


def _pick(pick: dict) -> dict:
    return {f"coarse_{k}" if k in ("gain", "coverage") else k: v for k, v in pick.items()}


def print_report(console: Console, metrics: dict, report: tuple[ChunkReport, ...]) -> None:
    """Prints two tables: what was retrieved, and how good it is."""
    anchors = metrics["anchors"]
    by_frame = anchors["composite"]["coverage_by_frame"] if anchors["slots"] else []
    chosen = Table(title="retrieved memories")
    for heading in ("target frames", "pool", "slot: frame (coarse gain)", "coverage", "stopped"):
        chosen.add_column(heading)
    for chunk in report:
        picks = ", ".join(
            f"{pick.slot}: {pick.name} ({'forced, ' if pick.forced else ''}{pick.gain:.0%})"
            for pick in chunk.picks
        )
        frames = by_frame[chunk.start : chunk.stop]
        covered = f"{fmean(frames):.0%}" if frames else "-"
        span = f"{chunk.start}-{chunk.stop - 1}"
        chosen.add_row(span, str(chunk.pool), picks or "none", covered, chunk.stopped)
    console.print(chosen)
    anything_shown = any(slot["coverage"] > 0 for slot in anchors["slots"])
    if not anything_shown and not any(chunk.picks for chunk in report):
        console.print("memory shows nothing of the target: only the first frame is available")
    table = Table(title="against the true target frames")
    table.add_column("what", no_wrap=True)
    for heading in ("coverage", *QUALITY.values()):
        table.add_column(heading)
    rows = {name.replace("_", " "): metrics[name] for name in VIDEOS if name in metrics}
    if anchors["slots"]:
        rows["composite, holes filled"] = anchors["composite_filled"]
        rows |= {f"anchor {slot}": row for slot, row in enumerate(anchors["slots"])}
        rows["composite"] = anchors["composite"]
    for name, row in rows.items():
        covered = f"{row['coverage']:.0%}" if "coverage" in row else "100%"
        qualities = (_told(row.get(key), key) for key in QUALITY)
        table.add_row(name, covered, *qualities)
    console.print(table)
    console.print(
        "coverage: fraction of the target's pixels that are shown; coarse gain: newly covered when "
        "chosen, on views of an eighth of the size; single anchors are measured where they show",
        soft_wrap=True,
    )


def _told(value: float | None, key: str) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if key.startswith("ssim") else f"{value:.2f}"
