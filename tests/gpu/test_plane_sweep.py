"""The plane sweep on a GPU finds what it finds on the CPU."""

import pytest
import torch

from anchorweave.perception.plane_sweep import PlaneSweep, PlaneSweepConfig, plane_sweep
from tests.perception.test_plane_sweep import relative_error, scene

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no CUDA GPU here, or TEST_GPU=1 is not set"
)


def test_depth_on_a_gpu():
    clip, truth = scene()
    perception = PlaneSweep(PlaneSweepConfig())
    assert perception.device.type == "cuda"
    found = perception(clip).depth
    assert found.device.type == "cpu"
    assert relative_error(found, truth).median() < 0.03
    on_cpu, _ = plane_sweep(clip, PlaneSweepConfig())
    both = (found > 0) & (on_cpu > 0)
    # Rounding decides a few pixels whose confidence is at the threshold, or between equal planes.
    assert ((found > 0) == (on_cpu > 0)).float().mean() > 0.99
    assert ((found - on_cpu).abs() < 1e-2 * on_cpu)[both].float().mean() > 0.99
