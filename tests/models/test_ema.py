import pytest
import torch
from torch import nn

from anchorweave.models.ema import running_average


def test_the_average_follows_in_float32_from_the_first_step():
    weight = nn.Parameter(torch.ones(3))
    average = running_average([weight], 0.995)
    expected = torch.ones(3)
    for step in range(1, 2001):
        with torch.no_grad():
            weight.fill_(1.0234)
        average.step([weight])
        # diffusers' warm-up: the first step copies.
        decay = 0.0 if step == 1 else min(0.995, step / (9 + step))
        expected = decay * expected + (1 - decay) * weight.detach()
    torch.testing.assert_close(average.shadow_params[0], expected)
    torch.testing.assert_close(average.shadow_params[0], weight.detach())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_weights_are_refused_because_their_average_stands_still(dtype):
    weight = nn.Parameter(torch.ones(3, dtype=dtype))
    with pytest.raises(ValueError, match="would not change"):
        running_average([weight], 0.995)


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_outside_its_range_is_refused(decay):
    with pytest.raises(ValueError, match="average.decay"):
        running_average([nn.Parameter(torch.ones(1))], decay)
