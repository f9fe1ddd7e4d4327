"""Splits a batch of backbone calls over several ranks."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

# Arguments of diffusers' transformers that have a batch axis.
BATCHED = ("hidden_states", "encoder_hidden_states", "timestep")


@contextmanager
def batch_over_ranks(backbone: nn.Module) -> Iterator[None]:
    """Context in which each rank computes its share of a call's samples; all ranks get the result.

    Woven features are also computed only for this share, so the controller's work is split as well.
    All ranks must make the same calls.

    Args:
        backbone: of any family; must return tuples (`return_dict=False`).

    Raises (from a call):
        ValueError: the batch is not divisible by the number of ranks.
    """
    rank, ranks = dist.get_rank(), dist.get_world_size()

    def own_share(_: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict]:
        arguments = inspect.signature(backbone.forward).bind(*args, **kwargs).arguments
        batch = len(arguments["hidden_states"])
        if batch % ranks:
            raise ValueError(f"a batch of {batch} is not divisible by {ranks} ranks")
        share = slice(rank * batch // ranks, (rank + 1) * batch // ranks)
        return (), {
            name: value[share] if name in BATCHED and isinstance(value, Tensor) else value
            for name, value in arguments.items()
        }

    def whole(_: nn.Module, args: tuple, answer: tuple[Tensor]) -> tuple[Tensor]:
        own = answer[0].contiguous()
        parts = [torch.empty_like(own) for _ in range(ranks)]
        dist.all_gather(parts, own)
        return (torch.cat(parts), *answer[1:])

    hooks = [
        # Before the weaving hooks, so that these see only this rank's share.
        backbone.register_forward_pre_hook(own_share, with_kwargs=True, prepend=True),
        backbone.register_forward_hook(whole),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
