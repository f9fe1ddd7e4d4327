"""Plots the loss of a run: by step, and by timestep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from anchorweave.files import atomic_write
from training.engine.tracking import LOG, read_log

SIZE = (720, 420)
MARGIN = (70.0, 40.0, 20.0, 50.0)  # left, top, right, bottom
BLUE, ORANGE, GREY = (40, 90, 200), (220, 120, 20), (170, 170, 170)
BINS, RECENT = 20, 4000


def write_plots(output: Path) -> None:
    """Draws `loss.png` and `loss_by_timestep.png` from the log in `output`."""
    records = [r for r in read_log(output / LOG) if "losses" in r]
    for name, picture in (
        ("loss.png", loss_curve(records)),
        ("loss_by_timestep.png", loss_by_timestep(records)),
    ):
        with atomic_write(output / name) as aside:
            picture.save(aside)


def loss_curve(records: Sequence[dict]) -> Image.Image:
    """Plots the loss of each step, and its running mean over a fiftieth of the run."""
    finite = [(float(r["step"]), r["loss"]) for r in records if math.isfinite(r["loss"])]
    steps, losses = ([pair[i] for pair in finite] for i in (0, 1))
    width = max(1, len(losses) // 50)
    means = [fmean(losses[max(0, i - width + 1) : i + 1]) for i in range(len(losses))]
    first, last = (steps[0], steps[-1]) if steps else (0.0, 0.0)
    plot = _Plot("loss by step", (first, max(last, first + 1)), losses)
    plot.line(steps, losses, GREY)
    plot.line(steps, means, BLUE)
    return plot.image


def loss_by_timestep(records: Sequence[dict]) -> Image.Image:
    """Plots the mean loss of the last samples in 20 bins of the noise schedule."""
    samples = [pair for r in records for pair in zip(r["timesteps"], r["losses"], strict=True)]
    samples = [pair for pair in samples if math.isfinite(pair[1])][-RECENT:]
    total = max(1000.0, 1 + max((t for t, _ in samples), default=0.0))
    sums, counts = np.zeros(BINS), np.zeros(BINS)
    for timestep, loss in samples:
        part = int(timestep * BINS / total)
        sums[part] += loss
        counts[part] += 1
    means = (sums / np.maximum(counts, 1)).tolist()
    plot = _Plot(f"loss by timestep, last {len(samples)} samples", (0.0, total), means)
    for part in np.flatnonzero(counts).tolist():
        plot.bar(part * total / BINS, (part + 1) * total / BINS, means[part])
    return plot.image


class _Plot:
    def __init__(self, title: str, across: tuple[float, float], values: Sequence[float]):
        self.image = Image.new("RGB", SIZE, "white")
        self.draw = ImageDraw.Draw(self.image)
        self.across = across
        # Clips a few outliers rather than let them flatten everything else.
        self.top = 1.1 * float(np.percentile(values, 99)) if values else 1.0
        self.top = self.top or 1.0
        self.font = ImageFont.load_default(size=13)
        left, top, right, bottom = MARGIN
        self.draw.text((left, 12), title, fill="black", font=self.font)
        for share in (0, 0.25, 0.5, 0.75, 1):
            value, at = share * self.top, across[0] + share * (across[1] - across[0])
            y = self._y(value)
            self.draw.line([(left, y), (SIZE[0] - right, y)], fill=(230, 230, 230))
            self.draw.text((8, y - 8), f"{value:.3g}", fill="black", font=self.font)
            place = (self._x(at) - 12, SIZE[1] - bottom + 10)
            self.draw.text(place, f"{at:.0f}", fill="black", font=self.font)

    def line(self, xs: Sequence[float], ys: Sequence[float], colour: tuple) -> None:
        points = [(self._x(x), self._y(y)) for x, y in zip(xs, ys, strict=True)]
        if len(points) > 1:
            self.draw.line(points, fill=colour, width=2)

    def bar(self, start: float, end: float, value: float) -> None:
        box = [self._x(start) + 1, self._y(value), self._x(end) - 1, self._y(0.0)]
        self.draw.rectangle(box, fill=ORANGE)

    def _x(self, value: float) -> float:
        left, _, right, _ = MARGIN
        share = (value - self.across[0]) / (self.across[1] - self.across[0])
        return left + share * (SIZE[0] - left - right)

    def _y(self, value: float) -> float:
        _, top, _, bottom = MARGIN
        return SIZE[1] - bottom - min(value / self.top, 1.0) * (SIZE[1] - top - bottom)
