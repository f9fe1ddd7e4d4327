"""Write one HTML file that shows an evaluation: tables, plots, and all rows' videos side by side.

    python -m inference.write_report results=outputs/anchorweave_tiny/evaluation/results
    python -m inference.write_report results=RESULTS against=k4 metric=psnr_only_memory clips=7
    python -m inference.write_report results=pretrained/anchorweave-tiny/results/partial_revisit

Results are made by `python -m inference.evaluate`. Writes `output`, a self-contained file with the
videos embedded. They are read from the measured rows; `clips=0` omits them, and then the rows are
not needed. Missing videos are listed in the page.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console

from anchorweave.command import Command
from anchorweave.config import load_config
from anchorweave.evaluation.markup import Markup, element, joined
from anchorweave.evaluation.report_page import clip, page, paragraph
from anchorweave.files import atomic_write
from anchorweave.progress import progress
from inference.evaluate import EvaluateConfig, find_rows
from inference.evaluation.clip_names import readable
from inference.evaluation.results_folder import REPORT, MeasuredRow, label, read_results
from inference.report_page.sections import (
    about,
    differences_section,
    drift_section,
    makes_section,
    results_section,
)
from inference.report_page.videos import chosen_clips, clip_videos, open_measured


@dataclass(frozen=True)
class ReportConfig:
    """What is shown.

    Args:
        results: a folder that `inference.evaluate` wrote.
        output: the HTML file; null = report.html in `results`.
        rows: a folder of rows, or a list of individual row folders; null = those in the results'
            command.
        against: the baseline row; null = the results' own, or else the first.
        metric: metric for choosing clips and for per-clip differences; null = the first that the
            row `against` has.
        by: the row whose metric is used to choose clips; null = `against`.
        clips: number of clips shown with videos, spread evenly from the row's lowest to its
            highest; or a list of clip names.
        seeds: number of videos per row and clip, starting from the first seed.
        fps: frame rate of the videos.
        scene: a page of an explored memory to link to (written by `inference.explore`,
            OUTPUT/exports/scene.html); null = none.

    Raises:
        ValueError: a number out of range.
    """

    results: str = "outputs/anchorweave_tiny/evaluation/results"
    output: str | None = None
    rows: Any = None
    against: str | None = None
    metric: str | None = None
    by: str | None = None
    clips: Any = 3
    seeds: int = 1
    fps: int = 8
    scene: str | None = None

    def __post_init__(self):
        named = isinstance(self.clips, list) and all(isinstance(c, str) for c in self.clips)
        if not named and (type(self.clips) is not int or self.clips < 0):
            raise ValueError(f"clips={self.clips}: give a number, at least 0, or a list of names")
        for name in ("seeds", "fps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: must be at least 1")


def main(words: list[str]) -> None:
    """Write the report with `a.b=c` overrides."""
    config = load_config(ReportConfig, words)
    results, measured = read_results(config.results)
    against = _one_of(measured, "against", config.against or results.get("against"))
    by = _one_of(measured, "by", config.by or against)
    metrics = measured[by].metrics()
    if not metrics:
        raise ValueError(f"{config.results}: no video of row {by} was measured")
    metric = _one_of(metrics, "metric", config.metric)
    command = shlex.join(["python", "-m", "inference.write_report", *words])
    sections = {"Results": results_section(results)}
    if len(measured) > 1:
        heading = f"Differences from {against}, clip by clip"
        sections[heading] = differences_section(results, measured, against, metric)
    sections |= drift_section(results)
    if config.clips:
        sections["Videos"] = videos_section(config, results, measured, by, metric)
    sections["How the rows were made"] = makes_section(results, measured)
    protocols = sorted({str(row.record()["made"]["protocol"]) for row in measured.values()})
    title = f"Evaluation: {', '.join(protocols).replace('_', ' ')}"
    output = Path(config.output or Path(config.results) / REPORT)
    introduction = about(results, measured, command)
    if config.scene is not None:
        introduction = joined(introduction, scene_link(Path(config.scene), output))
    written = page(title, introduction, sections)
    output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(output) as aside:
        aside.write_text(written, encoding="utf-8")
    console = Console()
    for name, row in measured.items():
        if row.missing:
            console.print(f"{name} lacks {len(row.missing)} videos; the page names them")
    size = output.stat().st_size / 2**20
    console.print(f"look at {output} ({size:.1f} MiB)", markup=False)


def scene_link(scene: Path, output: Path) -> Markup:
    """A link to the page of an explored memory.

    Args:
        scene: its file.
        output: the report's file, to which the link is relative.

    Raises:
        FileNotFoundError: there is no such page.
    """
    if not scene.is_file():
        raise FileNotFoundError(
            f"no page at scene={scene}; the explorer writes one (Export, Static page)"
        )
    address = quote(os.path.relpath(scene.resolve(), output.resolve().parent))
    return paragraph("The memory, to look around in: ", element("a", scene.name, href=address))


def videos_section(
    config: ReportConfig,
    results: dict[str, Any],
    measured: Mapping[str, MeasuredRow],
    by: str,
    metric: str,
) -> Markup:
    """The videos of the chosen clips."""
    places = config.rows
    if places is None:
        # python -m inference.evaluate a.b=c ...
        words = shlex.split(results["command"])[3:]
        places = load_config(EvaluateConfig, words).rows
    rows = open_measured(find_rows(places), results, f"rows={places}")
    chosen = chosen_clips(config.clips, measured, by, metric)
    how = "the selected clips"
    if isinstance(config.clips, int):
        of = len(measured[by].per_clip(metric))
        how = (
            f"{len(chosen)} of {of} clips, spread evenly from {by}'s lowest to its highest "
            f"{label(metric)}"
        )
    called = readable(clip for row in measured.values() for clip in row.record()["clips"])
    parts = [
        paragraph(
            f"Shown are {how}, with the first {config.seeds} of each row's seeds. Frame 0 is "
            "given to the model, so each clip opens at the frame where its videos differ most. "
            "Anchors are what was retrieved for a row (several memories are composited), "
            "whether or not its model uses them. Numbers "
            "beneath a video are that video's own. Small videos are enlarged by whole numbers."
        )
    ]
    for name, why in progress(chosen.items(), "clips"):
        videos = clip_videos(name, rows, measured, config.seeds, config.fps)
        note = why if called[name] == name else f"{why}; clip {name}"
        frames = max(videos.frames, 1)
        parts.append(clip(called[name], note, videos.lines, frames, config.fps, videos.start))
    return joined(*parts)


def _one_of(known: Any, key: str, value: str | None) -> str:
    """`value`, or the first of the known ones."""
    if value is None:
        return next(iter(known))
    if value not in known:
        raise ValueError(f"{key}={value} is none of: {', '.join(known)}")
    return value


COMMAND = Command(main, ReportConfig)

if __name__ == "__main__":
    COMMAND.run()
