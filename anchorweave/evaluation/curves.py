"""Points and curves of several rows in one plot, over any axis; values may be missing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

SIZE = (900, 480)
MARGIN = (60, 40, 230, 60)  # left, top, right (for the names), bottom
COLOURS = (
    (158, 202, 225), (66, 146, 198), (8, 69, 148), (253, 174, 107), (241, 105, 19), (201, 61, 10),
    (127, 39, 4), (35, 139, 69), (106, 81, 163), (90, 90, 90), (231, 41, 138), (166, 118, 29),
)  # fmt: skip
GREY = (228, 228, 228)
DOT = 5
TICKS = 8  # at most


def curves(
    title: str, across: str, rows: Mapping[str, Sequence[tuple[float, float | None]]]
) -> Image.Image:
    """A dot for a row with one point, a line for one with several, broken at missing values.

    Args:
        title: label of the y axis, with its unit.
        across: label of the x axis, with its unit.
        rows: name -> points (x, y), in the order of x; y None = missing. A row without any value
            appears only in the legend.

    Raises:
        ValueError: nothing to draw, or a value that is not finite.
    """
    points = [(x, y) for row in rows.values() for x, y in row if y is not None]
    if not points:
        raise ValueError(f"{title}: no row has a value to draw")
    if not all(math.isfinite(value) for point in points for value in point):
        raise ValueError(f"{title}: a value is not finite")
    picture = _Picture(*(_around([point[axis] for point in points]) for axis in (0, 1)))
    picture.axes(title, across)
    for number, (name, row) in enumerate(rows.items()):
        colour = COLOURS[number % len(COLOURS)]
        has_values = any(y is not None for _, y in row)
        picture.label(number, name if has_values else f"{name}: -", colour)
        for part in _unbroken(row):
            picture.part(part, colour, dots=len(row) == 1)
    return picture.image


def _around(values: Sequence[float]) -> tuple[float, float]:
    """An interval around the values, with some margin."""
    least, most = min(values), max(values)
    room = 0.06 * (most - least) or 1.0
    return least - room, most + room


def _ticks(span: tuple[float, float]) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten within the span."""
    least = (span[1] - span[0]) / TICKS
    power = 10.0 ** math.floor(math.log10(least))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least)
    return [step * i for i in range(math.ceil(span[0] / step), math.floor(span[1] / step) + 1)]


def _unbroken(row: Sequence[tuple[float, float | None]]) -> list[list[tuple[float, float]]]:
    parts: list[list[tuple[float, float]]] = [[]]
    for x, y in row:
        if y is None:
            parts.append([])
        else:
            parts[-1].append((x, y))
    return [part for part in parts if part]


class _Picture:
    def __init__(self, across: tuple[float, float], up: tuple[float, float]):
        self.across, self.up = across, up
        self.image = Image.new("RGB", SIZE, "white")
        self.draw = ImageDraw.Draw(self.image)
        self.font = ImageFont.load_default(size=13)

    def axes(self, title: str, across: str) -> None:
        left, top, right, bottom = MARGIN
        self.draw.text((left, 12), title, fill="black", font=self.font)
        self.draw.text((left, SIZE[1] - 24), across, fill="black", font=self.font)
        end, floor = SIZE[0] - right, SIZE[1] - bottom
        for y in _ticks(self.up):
            row = self.at(self.across[0], y)[1]
            self.draw.line([(left, row), (end, row)], fill=GREY)
            self.draw.text((8, row - 8), f"{y:.4g}", fill="black", font=self.font)
        for x in _ticks(self.across):
            column = self.at(x, self.up[0])[0]
            self.draw.line([(column, top), (column, floor)], fill=GREY)
            self.draw.text((column - 8, floor + 8), f"{x:.4g}", fill="black", font=self.font)

    def label(self, number: int, name: str, colour: tuple) -> None:
        left, height = SIZE[0] - MARGIN[2] + 14, MARGIN[1] + 20 * number
        self.draw.line([(left, height + 8), (left + 18, height + 8)], fill=colour, width=4)
        self.draw.text((left + 24, height), name, fill="black", font=self.font)

    def part(self, points: Sequence[tuple[float, float]], colour: tuple, dots: bool) -> None:
        places = [self.at(x, y) for x, y in points]
        self.draw.line(places, fill=colour, width=2)
        # A value between two missing ones makes no line.
        for x, y in places if dots or len(places) == 1 else []:
            size = DOT if dots else 1
            self.draw.ellipse([x - size, y - size, x + size, y + size], fill=colour)

    def at(self, x: float, y: float) -> tuple[float, float]:
        left, top, right, bottom = MARGIN
        (low, high), (least, most) = self.across, self.up
        column = left + (x - low) / (high - low) * (SIZE[0] - left - right)
        return column, SIZE[1] - bottom - (y - least) / (most - least) * (SIZE[1] - top - bottom)
