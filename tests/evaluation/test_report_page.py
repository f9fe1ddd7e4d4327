import base64
import hashlib
import re

import pytest

from anchorweave.evaluation.markup import Markup, joined
from anchorweave.evaluation.report_page import (
    TILE_WIDTH,
    Cell,
    Tile,
    clip,
    code,
    folded,
    page,
    paragraph,
    plots,
    table,
)
from anchorweave.evaluation.report_style import SCRIPT, STYLE
from tests.evaluation.page_reader import Page

HOSTILE = '"><script>alert(1)</script><img src=https://example.org/x>'


def whole(**sections):
    return Page(page("A title", paragraph("first"), {k: v for k, v in sections.items()}))


def test_a_page_is_well_formed_and_loads_nothing():
    tile = Tile("row", b"bytes", (64, 96), {"PSNR": "20"})
    read = whole(
        numbers=table(["row", "PSNR"], [["a", Cell("20", "[19, 21]", 20.0)]]),
        videos=clip("room", "the lowest", [[tile]], 17, 8),
        rest=joined(code("python -m x"), folded("more", "inside"), plots()),
    )
    assert read.from_elsewhere() == []
    assert [len(read.all(tag)) for tag in ("script", "style", "section", "title")] == [1, 1, 3, 1]
    links = [a["href"] for a in read.all("a")]
    assert links == [f"#{section['id']}" for section in read.all("section")]
    assert "url(" not in STYLE and "@import" not in STYLE and "http" not in STYLE + SCRIPT
    assert read.videos() == [("row", b"bytes")]


def test_the_policy_allows_the_one_script_and_no_network():
    read = whole()
    policy = next(m["content"] for m in read.all("meta") if "http-equiv" in m)
    digest = base64.b64encode(hashlib.sha256(read.text["script"].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy
    assert "http" not in policy and "*" not in policy


def test_whatever_is_given_is_text():
    tile = Tile(HOSTILE, b"x", (8, 8), {HOSTILE: HOSTILE}, HOSTILE)
    sections = {
        HOSTILE: joined(
            table([HOSTILE], [[Cell(HOSTILE, HOSTILE)]]),
            clip(HOSTILE, HOSTILE, [[tile]], 2, 8),
            code(HOSTILE),
            folded(HOSTILE, HOSTILE),
        )
    }
    read = Page(page(HOSTILE, paragraph(HOSTILE), sections))
    assert len(read.all("script")) == 1 and not read.all("img") and read.from_elsewhere() == []
    for tag in ("title", "h1", "h2", "h3", "th", "td", "pre", "figcaption", "dt", "dd", "summary"):
        assert HOSTILE in read.text[tag], tag


def test_videos_show_without_a_script_and_small_ones_by_whole_factors():
    tiles = [Tile("a", b"x", (64, 96)), Tile("b", b"x", (480, 720)), Tile("c", b"x", (16, 24))]
    videos = Page(clip("room", "", [tiles], 5, 8)).all("video")
    widths = [int(video["width"]) for video in videos]
    assert widths == [288, 720, 288] and max(widths[0], widths[2]) <= TILE_WIDTH
    assert [int(v["height"]) / int(v["width"]) for v in videos] == pytest.approx([2 / 3] * 3)
    assert all("controls" in v and "loop" in v and "muted" in v for v in videos)
    assert "image-rendering: pixelated" in STYLE


def test_what_steers_all_videos_waits_for_the_script():
    read = Page(clip("room", "", [[Tile("a", b"x", (64, 96))]], 17, 8, 12))
    bar = next(d for d in read.all("div") if d["class"] == "bar")
    assert "hidden" in bar and read.all("input")[0]["max"] == "16"
    article = read.all("article")[0]
    assert (article["data-fps"], article["data-start"]) == ("8", "12")
    # Before the script has moved anything, the bar says the same frame.
    assert read.all("input")[0]["value"] == "12" and "seek(first);" in SCRIPT


def test_videos_of_a_line_stay_beside_each_other():
    """On a narrow window they are scrolled: none wraps away from the anchors before it."""
    tiles = [Tile(name, b"x", (64, 96)) for name in ("truth", "anchors", "row")]
    read = Page(clip("room", "", [tiles[:1], tiles[1:]], 5, 8))
    lines = [div for div in read.all("div") if div.get("class") == "tiles"]
    assert len(lines) == 2 and all(line["tabindex"] == "0" for line in lines)
    rule = re.search(r"\n\.tiles \{([^}]*)\}", STYLE)[1]
    assert "overflow-x: auto" in rule and "max-width: 100%" in rule and "wrap" not in rule
    assert "flex: none" in re.search(r"\n\.tile \{([^}]*)\}", STYLE)[1]


def test_a_video_that_is_not_there_is_a_note():
    read = Page(clip("room", "", [[Tile("a", None, (64, 96), note="no video: lacks it")]], 1, 8))
    assert not read.all("video") and "no video: lacks it" in read.text["p"]
    assert any(p.get("class") == "warn" for p in read.all("p"))


def test_cells_carry_what_they_are_sorted_by():
    read = Page(table(["row", "PSNR"], [["a", Cell("1.0", "", 0.123456789)], ["b", Cell("-")]]))
    assert [td.get("data-value") for td in read.all("td")] == [None, "0.123456789", None, None]
    kinds = [th.get("class") for th in read.all("th")]
    assert kinds == ["words", None], "a column with any number stands right"


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="2 headings, but a row of 1 cells"):
        table(["a", "b"], [["x"]])


def test_the_style_has_both_lights_and_all_colours():
    assert "prefers-color-scheme: dark" in STYLE
    light, dark = STYLE.split("@media", 1)
    for name in [f"--c{i}:" for i in range(10)] + ["--ink:", "--ground:", "--rule:"]:
        assert name in light and name in dark.split("}", 1)[0] + dark, name
    assert isinstance(Markup(STYLE), str) and "</" not in SCRIPT + STYLE
