import numpy as np
import pytest

from anchorweave.evaluation.curves import COLOURS, MARGIN, SIZE, curves


def pixels_of(picture, colour):
    """Rows and columns of a colour, without the names on the right."""
    inside = np.array(picture)[:, : SIZE[0] - MARGIN[2]]
    return np.nonzero((inside == colour).all(axis=-1))


def by_frame(values):
    return [(float(frame), value) for frame, value in enumerate(values)]


def test_dots_lie_where_their_values_do():
    picture = curves(
        "dB", "%", {"low": [(20.0, 10.0)], "none": [(50.0, None)], "high": [(60.0, 15.0)]}
    )
    (rows, columns), (high_rows, high_columns) = (
        pixels_of(picture, COLOURS[number]) for number in (0, 2)
    )
    assert rows.mean() > high_rows.mean() + 200 and columns.mean() < high_columns.mean() - 300
    assert not len(pixels_of(picture, COLOURS[1])[0])


def test_a_line_is_broken_where_a_value_is_missing():
    values = [10.0, 11.0, None, 11.0, 10.0, None, 11.0]
    picture = curves("dB", "frame", {"broken": by_frame(values)})
    columns = set(pixels_of(picture, COLOURS[0])[1].tolist())
    whole = curves("dB", "frame", {"whole": by_frame([10.0, 11.0, 11.0, 11.0, 10.0, 10.0, 11.0])})
    drawn = set(pixels_of(whole, COLOURS[0])[1].tolist())
    # Of six steps two are drawn; the last value, alone, is a speck.
    assert len(columns) == pytest.approx(len(drawn) / 3, rel=0.1)
    assert max(columns) == pytest.approx(max(drawn), abs=2)


def test_one_value_is_enough():
    assert curves("dB", "%", {"one": [(0.0, 3.0)]}).size == SIZE


def test_nothing_and_nonsense_are_refused():
    with pytest.raises(ValueError, match="dB: no row has a value"):
        curves("dB", "%", {"none": [(1.0, None)]})
    with pytest.raises(ValueError, match="dB: a value is not finite"):
        curves("dB", "%", {"bad": [(1.0, float("nan"))]})
