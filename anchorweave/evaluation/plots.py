"""A plot of several lines with confidence intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

from anchorweave.evaluation.bootstrap import Interval

SIZE = (820, 460)
MARGIN = (60, 40, 200, 50)  # left, top, right (for the names), bottom
COLOURS = (
    (31, 119, 180), (214, 39, 40), (44, 160, 44), (255, 127, 14), (148, 103, 189),
    (140, 86, 75), (227, 119, 194), (90, 90, 90), (188, 189, 34), (23, 190, 207),
)  # fmt: skip


def interval_lines(title: str, across: str, lines: Mapping[str, Sequence[Interval]]) -> Image.Image:
    """One line per name over parts 1, 2, 3, ..., with an error bar at every point.

    Args:
        title: label of the y axis, with its unit.
        across: label of the x axis.
        lines: name -> one interval per part; lines may differ in length.

    Raises:
        ValueError: nothing to draw.
    """
    points = [interval for line in lines.values() for interval in line]
    if not points:
        raise ValueError(f"{title}: no line has a point to draw")
    least, most = min(p.low for p in points), max(p.high for p in points)
    room = 0.05 * (most - least) or 1.0
    longest = max(len(line) for line in lines.values())
    frame = _Frame((1, max(longest, 2)), (least - room, most + room))
    frame.write(title, across)
    for number, (name, line) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        # Lines are offset horizontally, so that their error bars do not overlap.
        shift = 2.0 * (number - len(lines) / 2)
        places = [(frame.x(i + 1) + shift, p) for i, p in enumerate(line)]
        frame.draw.line([(x, frame.y(p.mean)) for x, p in places], fill=colour, width=2)
        for x, p in places:
            frame.draw.line([(x, frame.y(p.low)), (x, frame.y(p.high))], fill=colour)
        height = MARGIN[1] + 18 * number
        left = SIZE[0] - MARGIN[2] + 14
        frame.draw.line([(left, height + 8), (left + 18, height + 8)], fill=colour, width=3)
        frame.draw.text((left + 24, height), name, fill="black", font=frame.font)
    return frame.image


class _Frame:
    def __init__(self, across: tuple[int, int], up: tuple[float, float]):
        self.across, self.up = across, up
        self.image = Image.new("RGB", SIZE, "white")
        self.draw = ImageDraw.Draw(self.image)
        self.font = ImageFont.load_default(size=13)

    def write(self, title: str, across: str) -> None:
        left, _, right, bottom = MARGIN
        self.draw.text((left, 12), title, fill="black", font=self.font)
        self.draw.text((left, SIZE[1] - 22), across, fill="black", font=self.font)
        for share in (0, 0.25, 0.5, 0.75, 1):
            value = self.up[0] + share * (self.up[1] - self.up[0])
            y = self.y(value)
            self.draw.line([(left, y), (SIZE[0] - right, y)], fill=(225, 225, 225))
            self.draw.text((8, y - 8), f"{value:.1f}", fill="black", font=self.font)
        first, last = self.across
        step = max(1, (last - first) // 8)
        for part in range(first, last + 1, step):
            place = (self.x(part) - 4, SIZE[1] - bottom + 8)
            self.draw.text(place, str(part), fill="black", font=self.font)

    def x(self, at: int) -> float:
        left, _, right, _ = MARGIN
        share = (at - self.across[0]) / (self.across[1] - self.across[0])
        return left + 20 + share * (SIZE[0] - left - right - 40)

    def y(self, value: float) -> float:
        _, top, _, bottom = MARGIN
        share = (value - self.up[0]) / (self.up[1] - self.up[0])
        return SIZE[1] - bottom - share * (SIZE[1] - top - bottom)
