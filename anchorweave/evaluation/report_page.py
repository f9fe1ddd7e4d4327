"""A self-contained HTML page of tables, plots and videos.

Built from plain values. Nothing is loaded from elsewhere, which the page's content security policy
enforces; the only script is that of `report_style`. Base64 makes it a third larger than its videos.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from anchorweave.evaluation.markup import Markup, element, joined
from anchorweave.evaluation.report_style import SCRIPT, STYLE

# Small videos are upscaled by an integer factor as long as they are no wider than this, in CSS
# pixels: the width of the narrowest phones.
TILE_WIDTH = 296


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Args:
        words: its text.
        below: a smaller second line.
        value: sort key; None = sorted by its text, below all numbers.
    """

    words: str
    below: str = ""
    value: float | int | None = None


@dataclass(frozen=True)
class Tile:
    """A video with a caption.

    Args:
        name: its caption.
        video: bytes of an H.264 file; None = missing, and `note` says why.
        size: (height, width) of its frames in pixels.
        numbers: name -> value, shown below it.
        note: a line below it.
    """

    name: str
    video: bytes | None
    size: tuple[int, int]
    numbers: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


def paragraph(*inside: object, kind: str | None = None) -> Markup:
    """A paragraph of text, `code` and the like."""
    return element("p", *inside, class_=kind)


def code(words: str) -> Markup:
    """A command, on its own lines."""
    return element("pre", element("code", words))


def folded(summary: str, *inside: object) -> Markup:
    """A collapsible section."""
    return element("details", element("summary", summary), *inside)


def table(headings: Sequence[str], rows: Sequence[Sequence[str | Cell]]) -> Markup:
    """A table sortable by its headings; columns without numbers are left-aligned.

    Args:
        headings: column headings.
        rows: rows with the same number of cells.

    Raises:
        ValueError: a row of another length.
    """
    cells = [[c if isinstance(c, Cell) else Cell(c) for c in row] for row in rows]
    for row in cells:
        if len(row) != len(headings):
            raise ValueError(f"{len(headings)} headings, but a row of {len(row)} cells: {row}")
    kinds = [
        None if any(row[column].value is not None for row in cells) else "words"
        for column in range(len(headings))
    ]
    titles = (
        element("th", heading, scope="col", class_=kind)
        for heading, kind in zip(headings, kinds, strict=True)
    )
    lines = (element("tr", *map(_cell, row, kinds)) for row in cells)
    head = element("thead", element("tr", *titles))
    whole = element("table", head, element("tbody", *lines), class_="sortable")
    # Focusable, so that it can be scrolled with the keyboard.
    return element("div", whole, class_="wide", tabindex=0)


def plots(*drawn: Markup) -> Markup:
    """Plots side by side, as many as fit."""
    return element("div", *drawn, class_="plots")


def clip(
    name: str,
    note: str,
    lines: Sequence[Sequence[Tile]],
    frames: int,
    fps: int,
    start: int = 0,
) -> Markup:
    """The videos of one clip, side by side and synchronised.

    Args:
        name: the clip's name.
        note: why it is shown.
        lines: the videos, all of one length. Those of one line stay side by side, and scroll if the
            window is narrower.
        frames: their length.
        fps: frames per second.
        start: the frame shown before playback, 0-based.
    """
    bar = element(
        "div",
        element("button", "Play", type="button"),
        element("input", type="range", min=0, max=frames - 1, value=start, aria_label="frame"),
        element("output"),
        class_="bar",
        hidden=True,
    )
    # Focusable, so that they can be scrolled with the keyboard.
    drawn = (element("div", *map(_tile, line), class_="tiles", tabindex=0) for line in lines)
    videos = element("div", *drawn, class_="lines")
    parts = [element("h3", name), paragraph(note, kind="soft"), bar, videos]
    return element("article", *parts, class_="clip", data_fps=fps, data_start=start)


def page(title: str, introduction: Markup, sections: Mapping[str, Markup]) -> str:
    """The whole page.

    Args:
        title: title of the page.
        introduction: content above all sections.
        sections: heading -> content.

    Returns:
        The text of an HTML file.
    """
    marks = {heading: f"part{place}" for place, heading in enumerate(sections)}
    links = (element("a", heading, href=f"#{mark}") for heading, mark in marks.items())
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src '{_hash(SCRIPT)}'; "
        "media-src data: blob:"
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Markup(STYLE)),
    )
    body = element(
        "body",
        element("h1", title),
        introduction,
        element("nav", *links),
        *(
            element("section", element("h2", heading), inside, id=marks[heading])
            for heading, inside in sections.items()
        ),
        element("script", Markup(SCRIPT)),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _cell(cell: Cell, kind: str | None) -> Markup:
    below = element("small", cell.below) if cell.below else ""
    # Full precision, so that values that look equal still sort correctly.
    value = None if cell.value is None else repr(float(cell.value))
    return element("td", cell.words, below, class_=kind, data_value=value)


def _tile(tile: Tile) -> Markup:
    height, width = tile.size
    factor = max(1, TILE_WIDTH // width)
    player = joined()
    if tile.video is not None:
        player = element(
            "video",
            src=f"data:video/mp4;base64,{base64.b64encode(tile.video).decode()}",
            width=factor * width,
            height=factor * height,
            preload="auto",
            aria_label=tile.name,
            controls=True,
            loop=True,
            muted=True,
            playsinline=True,
        )
    pairs = (p for k, v in tile.numbers.items() for p in (element("dt", k), element("dd", v)))
    numbers = element("dl", *pairs) if tile.numbers else ""
    kind = "soft" if tile.video is not None else "warn"
    note = paragraph(tile.note, kind=kind) if tile.note else ""
    caption = element("figcaption", tile.name)
    style = f"--width: {factor * width}px"
    return element("figure", caption, player, numbers, note, class_="tile", style=style)


def _hash(words: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(words.encode()).digest()).decode()}"
