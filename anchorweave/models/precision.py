"""Which numbers a network computes in: what suits a device; torch's autocast, left and entered."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal

import torch
from torch import nn

# Of what is computed, in configs; `auto` is bf16 where `has_bfloat16` says so.
Precision = Literal["auto", "bf16", "fp32"]


def has_bfloat16(device: torch.device | str) -> bool:
    """Whether a device has instructions for bfloat16.

    A CPU without them (before AVX-512 BF16, AMX or Armv8.6) computes the same numbers in scalar
    code: measured with AVX2, products and convolutions take 40 times as long as in float32.

    Args:
        device: a GPU counts as having them.
    """
    if torch.device(device).type != "cpu":
        return True
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def computing_dtype(precision: Precision, device: torch.device | str) -> torch.dtype:
    """What networks compute in on a device: torch.bfloat16 or torch.float32.

    Args:
        precision: `auto`, `bf16` or `fp32`.
        device: where they compute.
    """
    if precision == "auto":
        return torch.bfloat16 if has_bfloat16(device) else torch.float32
    return torch.bfloat16 if precision == "bf16" else torch.float32


def slowness(dtype: torch.dtype, device: torch.device | str) -> str | None:
    """What to tell the user where a device computes in `dtype` only very slowly, else None."""
    if dtype != torch.bfloat16 or has_bfloat16(device):
        return None
    return (
        "this CPU has no bfloat16 instructions, so expect ten to forty times the time of float32; "
        "auto takes what the machine is good at"
    )


def autocast_here(device: torch.device) -> Callable[[], AbstractContextManager]:
    """What enters the autocast that is on now, from anywhere.

    Args:
        device: whose autocast.
    """
    kind = device.type
    # Shapes alone have no precision.
    if kind == "meta":
        kind = "cpu"
    enabled, dtype = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
    return lambda: torch.autocast(kind, dtype, enabled=enabled)


def without_autocast(device: torch.device) -> AbstractContextManager:
    """Inside, networks compute in the numbers of their weights."""
    return torch.autocast("cpu" if device.type == "meta" else device.type, enabled=False)


def needs_no_autocast(network: nn.Module) -> bool:
    """Whether autocast has nothing to do for a network but to cast back and forth.

    So it is where nothing of it is trained and its weights are short already. Measured on an H200:
    the backbone of 5 billion outside autocast saves 5 % of a training step.
    """
    parameters = list(network.parameters())
    short = (torch.bfloat16, torch.float16)
    return bool(parameters) and (
        not any(p.requires_grad for p in parameters) and parameters[0].dtype in short
    )
