import math

import pytest

from anchorweave.models.schedules import learning_rate_factor


def test_cosine_with_restarts_is_its_closed_form():
    factor = learning_rate_factor("cosine_with_restarts", warmup=50, steps=1050)
    assert [factor(0), factor(25), factor(50)] == [0, 0.5, 1]
    for step in (100, 550, 1049):
        share = (step - 50) / 1000
        assert factor(step) == pytest.approx((1 + math.cos(math.pi * share)) / 2)


@pytest.mark.parametrize("kind", ["constant_with_warmup", "linear", "cosine"])
def test_every_kind_warms_up_and_depends_on_the_step_alone(kind):
    factor = learning_rate_factor(kind, warmup=10, steps=110)
    assert factor(5) == 0.5 and factor(10) == 1
    assert factor(60) == {"constant_with_warmup": 1, "linear": 0.5}.get(kind, pytest.approx(0.5))
    assert factor(5) == 0.5
