import json
import math

import pytest

from training.engine.guards import SETTLED, GradientGuard
from training.options.training import GuardConfig


def settled(**limits):
    guard = GradientGuard(GuardConfig(**limits))
    for step in range(SETTLED):
        assert guard.allows(step, 1.0, True)
    return guard


@pytest.mark.parametrize("norm, finite", [(math.nan, True), (math.inf, True), (1.0, False)])
def test_what_is_not_finite_is_never_taken(norm, finite):
    guard = GradientGuard(GuardConfig(abnormal=None))
    assert not guard.allows(0, norm, finite)
    assert guard.skipped == [0] and guard.skipped_ever == 1
    assert guard.mean == 0 and guard.taken == 0


def test_abnormal_is_measured_against_the_steps_that_were_taken():
    guard = settled(abnormal=5.0)
    assert guard.mean == pytest.approx(1.0)
    assert not guard.allows(60, 5.1, True)
    assert guard.mean == pytest.approx(1.0)
    assert guard.allows(61, 4.9, True)
    assert guard.mean == pytest.approx(0.98 + 0.02 * 4.9)


def test_it_does_not_judge_before_it_has_seen_enough_nor_when_switched_off():
    young = GradientGuard(GuardConfig(abnormal=5.0))
    assert young.allows(0, 1.0, True) and young.allows(1, 100.0, True)
    assert settled(abnormal=None).allows(60, 1e6, True)


def test_too_many_within_the_window_stop_the_run():
    guard = GradientGuard(GuardConfig(limit=2, window=10))
    assert not guard.allows(0, math.nan, True)
    assert not guard.allows(5, math.nan, True)
    # The one of step 0 has left the window.
    assert not guard.allows(10, math.nan, True)
    with pytest.raises(RuntimeError, match="3 of the last 10 steps were skipped.*guard.limit=2"):
        guard.allows(11, math.nan, True)
    assert guard.skipped_ever == 4


def test_its_state_goes_through_json():
    guard = settled()
    guard.allows(60, math.nan, True)
    other = GradientGuard(guard.config)
    other.restore(json.loads(json.dumps(guard.state())))
    assert other == guard
