import numpy as np
import pytest

from anchorweave.evaluation.bootstrap import Interval
from anchorweave.evaluation.plots import COLOURS, interval_lines


def test_a_line_goes_down_where_its_values_do():
    falling = [Interval(30.0 - 5 * i, 29.0 - 5 * i, 31.0 - 5 * i, 4) for i in range(4)]
    level = [Interval(12.0, 11.0, 13.0, 4)] * 3
    picture = np.array(interval_lines("PSNR", "segment", {"falling": falling, "level": level}))
    heights = []
    for colour in COLOURS[:2]:
        rows, columns = np.nonzero((picture[:, :600] == colour).all(axis=-1))
        assert len(rows), colour
        left, right = (rows[columns < 200].mean(), rows[columns > columns.max() - 60].mean())
        heights.append(right - left)
    assert heights[0] > 100 and abs(heights[1]) < 20


def test_one_value_can_be_drawn_and_nothing_cannot():
    assert interval_lines("PSNR", "frame", {"one": [Interval(20.0, 20.0, 20.0, 1)]}).size[0] > 100
    with pytest.raises(ValueError, match="no line has a point"):
        interval_lines("PSNR", "frame", {"none": []})
