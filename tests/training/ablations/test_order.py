"""Two orders of the same rows, with differences that are known."""

import pytest

from training.ablations.order import compare_column

CLIPS = "abcdefgh"
PAPER = {"low": 1.0, "middle": 2.0, "high": 3.0}


def values(mean, wobble=0.0):
    """A value per clip; its wobble is up on one clip and down on the next."""
    return {clip: mean + wobble * (-1) ** i for i, clip in enumerate(CLIPS)}


def column(ours, paper=PAPER, claims=()):
    return compare_column("PSNR", "psnr", ours, paper, claims, 200)


def test_the_same_order():
    found = column({"low": values(10), "middle": values(11, 0.1), "high": values(12)})
    assert found.tau == 1 and len(found.pairs) == 3
    assert all(pair.verdict == "same" and pair.apart for pair in found.pairs)
    assert "same order as the paper, in all 3 pairs of rows; in 3 of them" in found.statement()
    assert found.ours["middle"].mean == pytest.approx(11)
    assert [pair.paper for pair in found.pairs] == [1, 2, 1]


def test_a_swapped_pair_is_named_with_its_interval():
    found = column({"low": values(10), "middle": values(12), "high": values(11)})
    assert found.tau == pytest.approx((2 - 1) / 3)
    said = found.statement()
    assert "2 of 3 pairs of rows are in the paper's order, 2 of them" in said
    assert "Swapped: high minus middle is -1.000 [-1.000, -1.000] here, apart from zero" in said
    assert "(paper: +1)" in said


def test_a_swap_within_the_spread_is_not_apart_from_zero():
    found = column({"low": values(10), "high": values(9.9, 1.0)})
    (pair,) = found.pairs
    assert pair.verdict == "swapped" and not pair.apart
    assert "not apart from zero" in found.statement()


def test_a_right_order_within_the_spread_is_not_counted_as_sure():
    found = column({"low": values(10), "high": values(10.1, 1.0)})
    assert "in the one pair of rows; in 0 of them" in found.statement()


def test_rows_that_are_equal_here_are_neither_right_nor_swapped():
    found = column({"low": values(10), "high": values(10)})
    assert found.tau == 0 and "high and low are equal here (paper: +2)" in found.statement()


def test_rows_that_the_paper_has_equal_are_in_no_order():
    found = column({"low": values(10), "high": values(11)}, {"low": 1.0, "high": 1.0})
    assert found.pairs == () and found.tau is None
    assert "no two of these rows" in found.statement()


def test_a_claim_without_numbers_is_an_order():
    found = column({"one": values(1), "other": values(2)}, {}, [["one", "other"]])
    assert found.tau == -1
    assert "one minus other is -1.000" in found.statement()
    assert "(paper: without numbers)" in found.statement()


def test_only_clips_of_both_are_compared():
    ours = {"low": {"a": 1.0, "b": 5.0}, "high": {"b": 6.0, "c": 0.0}}
    (pair,) = column(ours).pairs
    assert pair.ours.mean == pytest.approx(1) and pair.ours.clips == 1


def test_rows_that_lack_the_metric_are_left_out():
    found = column({"low": values(1), "middle": {}, "high": values(2)})
    assert found.ours.keys() == {"low", "high"} and len(found.pairs) == 1
    found = column({"low": values(1), "high": {}})
    assert found.tau is None and "fewer than two of these rows have psnr" in found.statement()
