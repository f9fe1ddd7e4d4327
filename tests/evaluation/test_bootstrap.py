import math

import numpy as np
import pytest

from anchorweave.evaluation.bootstrap import bootstrap_interval, paired_difference


def test_the_interval_is_as_wide_as_theory_says():
    values = np.random.default_rng(1).normal(20.0, 3.0, 400)
    found = bootstrap_interval(values.tolist(), 4000)
    half = 1.96 * values.std() / math.sqrt(400)
    assert found.mean == pytest.approx(values.mean()) and found.clips == 400
    assert found.high - found.mean == pytest.approx(half, rel=0.08)
    assert found.mean - found.low == pytest.approx(half, rel=0.08)


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(300):
        found = bootstrap_interval(rng.normal(0.0, 1.0, 40).tolist(), 300)
        hits += found.low <= 0.0 <= found.high
    assert 0.90 <= hits / 300 <= 0.98


def test_the_same_seed_gives_the_same_interval():
    values = [1.0, 5.0, 2.0, 8.0]
    assert bootstrap_interval(values, 50, 3) == bootstrap_interval(values, 50, 3)
    assert bootstrap_interval(values, 50, 3) != bootstrap_interval(values, 50, 4)


def test_a_paired_difference_tells_apart_what_two_intervals_cannot():
    rng = np.random.default_rng(0)
    hard = rng.normal(20.0, 5.0, 60)
    one = {f"clip {i}": value + 0.5 + 0.1 * rng.normal() for i, value in enumerate(hard)}
    other = {f"clip {i}": value for i, value in enumerate(hard)}
    difference = paired_difference(one, other)
    assert difference.low > 0.4 and difference.high < 0.6
    apart = [bootstrap_interval(list(row.values())) for row in (one, other)]
    assert apart[0].low < apart[1].high


def test_only_shared_clips_are_compared():
    difference = paired_difference({"a": 3.0, "b": 100.0}, {"a": 1.0, "c": -100.0})
    assert (difference.mean, difference.clips) == (2.0, 1)
    with pytest.raises(ValueError, match="no clip is in both"):
        paired_difference({"a": 1.0}, {"b": 1.0})


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_what_is_no_number_is_refused(values):
    with pytest.raises(ValueError, match="one finite value per clip"):
        bootstrap_interval(values)


def test_no_draws_are_refused():
    with pytest.raises(ValueError, match="resamples=0"):
        bootstrap_interval([1.0], 0)
