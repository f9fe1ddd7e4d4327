import pytest

from anchorweave.evaluation.bootstrap import Interval
from anchorweave.evaluation.vector_plots import (
    WIDTH,
    interval_bars,
    interval_curves,
    number,
    sorted_differences,
)
from tests.evaluation.page_reader import Page


def boxes(page, kind=None):
    found = [b for b in page.all("rect") if kind is None or b["class"] == kind]
    return [{k: float(b[k]) for k in ("x", "y", "width", "height")} for b in found]


def test_bars_are_as_long_as_their_values_from_zero():
    bars = {"up": Interval(20.0, 19.0, 21.0, 4), "down": Interval(-10.0, -10.0, -10.0, 4)}
    page = Page(interval_bars("PSNR", bars, "+"))
    up, down = boxes(page)
    assert up["width"] == pytest.approx(2 * down["width"], rel=0.01)
    assert up["x"] == pytest.approx(down["x"] + down["width"], abs=0.02)
    low, high = [line for line in page.all("line") if line["class"] == "whisker"][1:3]
    # The interval's ends, as far from the bar's end to either side.
    end = up["x"] + up["width"]
    assert end - float(low["x1"]) == pytest.approx(float(high["x1"]) - end, abs=0.2)
    assert float(high["x1"]) - end == pytest.approx(up["width"] / 20, abs=0.2)
    assert "+20.000 [+19.000, +21.000]" in page.text["text"]


def test_colours_follow_the_given_order():
    one = Page(interval_bars("x", {"b": Interval(1.0, 1.0, 1.0, 1)}, order=["a", "b"]))
    assert one.all("rect")[0]["class"] == "colour1"
    line = {"b": [Interval(1.0, 1.0, 1.0, 1)]}
    other = Page(interval_curves("x", "frame", line, order=["a", "b"]))
    assert other.all("polyline")[0]["class"] == "line colour1"


def test_a_curve_goes_down_where_its_values_do():
    falling = [Interval(30.0 - 5 * i, 29.0 - 5 * i, 31.0 - 5 * i, 4) for i in range(4)]
    page = Page(interval_curves("PSNR", "segment", {"a": falling, "b": falling[:2]}))
    points = [
        [tuple(map(float, pair.split(","))) for pair in line["points"].split()]
        for line in page.all("polyline")
    ]
    assert [len(line) for line in points] == [4, 2]
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in zip(points[0], points[0][1:], strict=False))
    steps = [b[1] - a[1] for a, b in zip(points[0], points[0][1:], strict=False)]
    assert max(steps) - min(steps) < 0.3, "equal steps are drawn equal"
    bars = [x for x in page.all("line") if x["class"] == "line thin colour0"]
    heights = [float(bar["y1"]) - float(bar["y2"]) for bar in bars]
    assert heights == pytest.approx([2 / 5 * steps[0]] * 4, abs=0.3)


def test_differences_are_sorted_and_stand_on_their_side_of_zero():
    page = Page(sorted_differences("a minus b", {"p": -1.0, "q": 2.0, "r": 0.5}))
    up, down = boxes(page, "up"), boxes(page, "down")
    assert [len(up), len(down)] == [2, 1]
    assert up[0]["height"] == pytest.approx(4 * up[1]["height"], rel=0.02)
    assert up[0]["x"] < up[1]["x"] < down[0]["x"]
    assert down[0]["y"] == pytest.approx(up[0]["y"] + up[0]["height"], abs=0.02)
    assert page.text["title"].split(": ")[0] == "q" and "+2.000" in page.text["title"]


def test_one_value_and_equal_values_can_be_drawn():
    still = Interval(0.0, 0.0, 0.0, 1)
    for drawn in (
        interval_bars("x", {"a": still}),
        interval_curves("x", "frame", {"a": [still]}),
        sorted_differences("x", {"a": 0.0}),
    ):
        assert "nan" not in drawn and Page(drawn).all("svg")[0]["viewbox"].startswith("0 0 ")


def test_long_and_hostile_names_are_cut_and_escaped():
    name = "<script>alert(1)</script>" * 4
    page = Page(interval_bars(name, {name: Interval(1.0, 1.0, 1.0, 1)}))
    assert not page.all("script") and page.all("svg")[0]["aria-label"] == name
    assert name in page.text["title"] and "…" in page.text["text"]
    inside = [x for x in page.all("text") if 0 <= float(x["x"]) <= WIDTH]
    assert len(inside) == len(page.all("text"))


def test_nothing_cannot_be_drawn():
    for draw in (interval_bars, sorted_differences):
        with pytest.raises(ValueError, match="PSNR: nothing to draw"):
            draw("PSNR", {})
    with pytest.raises(ValueError, match="PSNR: nothing to draw"):
        interval_curves("PSNR", "frame", {"a": []})


def test_small_numbers_keep_three_figures():
    assert [number(x) for x in (19.97206, 0.0, 0.044, -1.5e-7)] == [
        "19.972", "0.000", "0.0440", "-1.50e-07",
    ]  # fmt: skip
    assert number(0.2, "+") == "+0.200"
