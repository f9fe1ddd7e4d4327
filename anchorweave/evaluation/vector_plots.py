"""SVG plots inside a page: bars and lines with intervals, and per-clip differences.

Colours are classes (`colour0`, `axis`, `up`, ...) styled by the page, for light and dark mode.
Tooltips explain each mark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from anchorweave.evaluation.bootstrap import Interval
from anchorweave.evaluation.markup import Markup, element, joined, text

WIDTH = 400
COLOURS = 10
# Approximate number of characters that fit into half of the width.
NAME_LENGTH = 28
Place = int | float


def number(value: float, sign: str = "") -> str:
    """Three decimals, or three significant digits where that would round the value away."""
    return f"{value:{sign}.3f}" if value == 0 or abs(value) >= 0.05 else f"{value:{sign}#.3g}"


def interval_bars(
    title: str, bars: Mapping[str, Interval], sign: str = "", order: Sequence[str] = ()
) -> Markup:
    """One bar from zero per name, with its interval as an error bar.

    Args:
        title: what is shown, with its unit.
        bars: name -> mean and interval.
        sign: "+" to also write the sign of positive values, as for differences.
        order: names in the order of their colours, for consistent colours across plots.

    Raises:
        ValueError: nothing to draw.
    """
    _require(bars, title)
    scale = _Scale([0.0, *(end for b in bars.values() for end in (b.low, b.high))], 8, WIDTH - 8)
    marks = []
    colours = _colours(bars, order)
    for place, (name, bar) in enumerate(bars.items()):
        top = 22 + 36 * place
        start, end = sorted((scale(0.0), scale(bar.mean)))
        mean, low, high = (number(value, sign) for value in (bar.mean, bar.low, bar.high))
        words = f"{mean} [{low}, {high}]"
        middle = top + 12
        marks += [
            _word(4, top, name, title=f"{name}: {words}, {bar.clips} clips"),
            _word(WIDTH - 4, top, words, anchor="end"),
            _box(start, top + 6, end - start, 12, colours[name]),
            _line(scale(bar.low), middle, scale(bar.high), middle),
            *(_line(scale(x), middle - 5, scale(x), middle + 5) for x in (bar.low, bar.high)),
        ]
    bottom = 22 + 36 * len(bars)
    zero = _line(scale(0.0), 12, scale(0.0), bottom - 8, "axis")
    return _picture(title, bottom, zero, *marks)


def interval_curves(
    title: str,
    across: str,
    curves: Mapping[str, Sequence[Interval]],
    order: Sequence[str] = (),
    height: int = 220,
) -> Markup:
    """One line per name over parts 1, 2, 3, ..., with an error bar at every point.

    Args:
        title: label of the y axis, with its unit.
        across: label of the x axis.
        curves: name -> one interval per part; curves may differ in length.
        order: names in the order of their colours, for consistent colours across plots.
        height: height of the plot above its legend.

    Raises:
        ValueError: nothing to draw.
    """
    points = [point for curve in curves.values() for point in curve]
    _require(points, title)
    up = _Scale([end for p in points for end in (p.low, p.high)], height - 30, 10)
    longest = max(len(curve) for curve in curves.values())
    side = _Scale([1.0, float(max(longest, 2))], 52, WIDTH - 14)
    marks = []
    for value in up.ticks(5):
        marks += [_line(44, up(value), WIDTH, up(value), "axis")]
        marks += [_word(40, up(value) + 4, f"{value:g}", anchor="end")]
    for part in range(1, longest + 1, max(1, -(-longest // 12))):
        marks += [_word(side(float(part)), height - 12, part, anchor="middle")]
    marks += [_word(WIDTH, height + 4, across, anchor="end")]
    colours = _colours(curves, order)
    for place, (name, curve) in enumerate(curves.items()):
        colour = colours[name]
        # Offset horizontally, so that the error bars do not overlap.
        shift = 1.5 * (place - (len(curves) - 1) / 2)
        at = [(side(part + 1.0) + shift, point) for part, point in enumerate(curve)]
        path = " ".join(f"{x:.1f},{up(point.mean):.1f}" for x, point in at)
        marks += [element("polyline", points=path, class_=f"line {colour}")]
        marks += [_line(x, up(p.low), x, up(p.high), f"line thin {colour}") for x, p in at]
        legend = height + 22 + 18 * (place // 2)
        left = 4 + (place % 2) * WIDTH / 2
        marks += [_box(left, legend - 9, 14, 8, colour), _word(left + 20, legend, name)]
    return _picture(title, height + 22 + 18 * -(-len(curves) // 2), *marks)


def sorted_differences(title: str, differences: Mapping[str, float], height: int = 120) -> Markup:
    """One bar from zero per clip, in descending order.

    Args:
        title: title of the plot.
        differences: clip -> difference.
        height: height of the plot.

    Raises:
        ValueError: nothing to draw.
    """
    _require(differences, title)
    up = _Scale([0.0, *differences.values()], height - 8, 8)
    width = (WIDTH - 56) / len(differences)
    marks = []
    for value in up.ticks(4):
        marks += [_line(52, up(value), WIDTH, up(value), "axis")]
        marks += [_word(48, up(value) + 4, f"{value:g}", anchor="end")]
    order = sorted(differences.items(), key=lambda pair: -pair[1])
    for place, (clip, value) in enumerate(order):
        top, bottom = sorted((up(0.0), up(value)))
        words = f"{clip}: {number(value, '+')}"
        side = "up" if value > 0 else "down"
        left = 54 + width * place
        marks += [_box(left, top, max(width - 0.6, 0.4), bottom - top, side, words)]
    return _picture(title, height, *marks, _line(52, up(0.0), WIDTH, up(0.0)))


class _Scale:
    """Maps values to positions: the minimum of `values` to `first`, the maximum to `last`."""

    def __init__(self, values: Sequence[float], first: Place, last: Place):
        self.least, self.most = min(values), max(values)
        if self.least == self.most:
            self.least, self.most = self.least - 0.5, self.most + 0.5
        self.first, self.last = first, last

    def __call__(self, value: float) -> float:
        share = (value - self.least) / (self.most - self.least)
        return self.first + share * (self.last - self.first)

    def ticks(self, most: int) -> list[float]:
        """At most about `most` round values within the scale."""
        rough = (self.most - self.least) / most
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * f for f in (1, 2, 5, 10) if power * f >= rough * 0.999)
        first = math.ceil(self.least / step)
        return [round(step * i, 12) for i in range(first, math.floor(self.most / step) + 1)]


def _colours(names: Iterable[str], order: Sequence[str]) -> dict[str, str]:
    ordered = dict.fromkeys([*order, *names])
    return {name: f"colour{place % COLOURS}" for place, name in enumerate(ordered)}


def _require(values: Sequence | Mapping, title: str) -> None:
    if not values:
        raise ValueError(f"{title}: nothing to draw")


def _picture(title: str, height: Place, *marks: Markup) -> Markup:
    box = f"0 0 {WIDTH} {height:g}"
    drawing = element("svg", *marks, viewBox=box, role="img", aria_label=title)
    return element("figure", element("figcaption", title), drawing, class_="plot")


def _word(
    x: Place, y: Place, words: object, anchor: str | None = None, title: str | None = None
) -> Markup:
    words = str(words)
    label = words if len(words) <= NAME_LENGTH else f"{words[: NAME_LENGTH - 1]}…"
    hover = element("title", title or words) if title or label != words else ""
    return element("text", hover, label, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor)


def _line(x1: Place, y1: Place, x2: Place, y2: Place, kind: str = "whisker") -> Markup:
    places = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    return element("line", **{k: f"{v:.1f}" for k, v in places.items()}, class_=kind)


def _box(
    x: Place, y: Place, width: Place, height: Place, kind: str, title: str | None = None
) -> Markup:
    places = {"x": x, "y": y, "width": width, "height": height}
    hover = joined() if title is None else element("title", text(title))
    return element("rect", hover, **{k: f"{v:.2f}" for k, v in places.items()}, class_=kind)
