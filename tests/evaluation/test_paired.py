import pytest

from anchorweave.evaluation.paired import compare_clips


def test_clips_are_counted_and_the_largest_difference_comes_first():
    one = {"a": 1.0, "b": 5.0, "c": 2.0, "d": 7.0, "mine": 99.0}
    other = {"d": 7.0, "c": 5.0, "b": 4.0, "a": 0.5, "yours": -99.0}
    found = compare_clips(one, other, resamples=100)
    assert list(found.differences.items()) == [("c", -3.0), ("b", 1.0), ("a", 0.5), ("d", 0.0)]
    assert (found.higher, found.lower, found.equal) == (2, 1, 1)
    assert found.interval.mean == pytest.approx(-1.5 / 4) and found.interval.clips == 4
    assert found.interval.low < found.interval.mean < found.interval.high


def test_runs_without_a_common_clip_are_refused():
    with pytest.raises(ValueError, match="no clip is in both"):
        compare_clips({"a": 1.0}, {"b": 1.0})
