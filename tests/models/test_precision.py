"""Which numbers suit which device, and what the user is told where they do not."""

import pytest
import torch
from accelerate import Accelerator

from anchorweave.models import precision
from anchorweave.models.precision import computing_dtype, has_bfloat16, slowness
from training.engine.strategy import assert_as_launched, compute_in
from training.options.training import TrainConfig
from training.precompute_latents import EncoderConfig

CPU = torch.device("cpu")


@pytest.fixture(params=[True, False], ids=["with", "without"])
def able(request, monkeypatch):
    """Whether the CPU of this test has instructions for bfloat16."""
    monkeypatch.setattr(precision, "has_bfloat16", lambda _: request.param)
    return request.param


def test_what_torch_says_of_this_cpu_is_what_is_said():
    assert has_bfloat16(CPU) is bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    assert has_bfloat16("cuda")


def test_auto_takes_what_the_device_is_good_at(able):
    best = torch.bfloat16 if able else torch.float32
    assert computing_dtype("auto", CPU) == best
    assert EncoderConfig(dtype="auto").computes_in(CPU) == best
    with compute_in(TrainConfig(precision="auto"), CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == best


def test_what_is_asked_for_is_taken(able):
    assert computing_dtype("bf16", CPU) == torch.bfloat16
    assert computing_dtype("fp32", CPU) == torch.float32
    assert EncoderConfig(dtype="bfloat16").computes_in(CPU) == torch.bfloat16


def test_a_slow_choice_is_said(able):
    assert slowness(torch.float32, CPU) is None
    assert (slowness(torch.bfloat16, CPU) is None) == able
    config = TrainConfig(precision="bf16", batch=1, batch_per_process=1)
    line = assert_as_launched(config, Accelerator(cpu=True), torch.nn.Linear(1, 1))
    assert "compute bfloat16 (autocast" in line
    assert ("no bfloat16 instructions" in line) == (not able)
