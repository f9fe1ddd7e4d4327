"""Gradient checkpointing of the networks, optionally without recomputing expensive parts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

Kept = Literal["nothing", "attention_of_controller", "attention"]

# Torch's attention kernels; every attention call ends in one of them.
ATTENTION = tuple(
    getattr(torch.ops.aten, name).default
    for name in (
        "_scaled_dot_product_flash_attention",
        "_scaled_dot_product_flash_attention_for_cpu",
        "_scaled_dot_product_efficient_attention",
        "_scaled_dot_product_cudnn_attention",
        "_scaled_dot_product_fused_attention_overrideable",
    )
    if hasattr(torch.ops.aten, name)
)


def recompute(network: nn.Module, keep_attention: bool) -> None:
    """Enables recomputation of a network's blocks in the backward pass.

    Args:
        network: a diffusers model.
        keep_attention: store attention outputs, as large as the tokens of each block, instead of
            recomputing them.
    """
    if not keep_attention:
        network.enable_gradient_checkpointing()
        return
    network.enable_gradient_checkpointing(_keeping_attention)


def kept_parts(kept: Kept) -> tuple[bool, bool]:
    """Whether attention outputs are stored in the backbone, and in the controller."""
    return kept == "attention", kept != "nothing"


def _keeping_attention(module: nn.Module, *args: Any) -> Any:
    contexts: Callable = partial(create_selective_checkpoint_contexts, _policy)
    return checkpoint(module.__call__, *args, use_reentrant=False, context_fn=contexts)


def _policy(context: Any, operation: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
    if operation in ATTENTION:
        return CheckpointPolicy.MUST_SAVE
    return CheckpointPolicy.PREFER_RECOMPUTE
