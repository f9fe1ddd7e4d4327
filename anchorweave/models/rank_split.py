"""The backbone's work on several ranks: shares of a batch, or one of two calls each."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

# What has a batch axis among the arguments of diffusers' transformers.
BATCHED = ("hidden_states", "encoder_hidden_states", "timestep")


@contextmanager
def batch_over_ranks(backbone: nn.Module) -> Iterator[None]:
    """Inside, each rank computes its share of the samples of a call, and all get all of them.

    What is woven into the backbone is made for the share alone, so the controller's work is shared
    as well. All ranks have to make the same calls.

    Args:
        backbone: of any family; its answers are tuples (`return_dict=False`).

    Raises (from a call):
        ValueError: a batch that the ranks do not divide.
    """
    rank, ranks = dist.get_rank(), dist.get_world_size()

    def own_share(_: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict]:
        arguments = inspect.signature(backbone.forward).bind(*args, **kwargs).arguments
        batch = len(arguments["hidden_states"])
        if batch % ranks:
            raise ValueError(f"a batch of {batch} is not shared evenly by {ranks} ranks")
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
        # Before the weaving hooks, which then see this rank's share.
        backbone.register_forward_pre_hook(own_share, with_kwargs=True, prepend=True),
        backbone.register_forward_hook(whole),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class CallsOverRanks(nn.Module):
    """In the place of a backbone: of every two calls each of two ranks computes one.

    For guidance that is two calls, one after the other. Nobody waits between them: the first call
    returns a tensor that holds the answer once the second was made.

    Args:
        backbone: whose answers have the shape of its latents; it is told nothing of the other
            rank's calls, so what is woven into it is computed for its own alone.
    """

    def __init__(self, backbone: nn.Module):
        super().__init__()
        self.backbone = backbone
        self.own: Tensor | None = None
        self.first: Tensor | None = None

    def __getattr__(self, name: str) -> Any:
        """Whatever else is asked of a backbone is the backbone's own."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("backbone"), name)

    def forward(self, *args, **kwargs) -> tuple[Tensor]:
        """The backbone's answer, as a tuple."""
        arguments = inspect.signature(self.backbone.forward).bind(*args, **kwargs).arguments
        second = self.first is not None
        if second == (dist.get_rank() == 1):
            self.own = self.backbone(**arguments)[0].contiguous()
        if not second:
            self.first = torch.empty_like(arguments["hidden_states"])
            return (self.first,)
        answers = [torch.empty_like(self.own) for _ in range(2)]
        dist.all_gather(answers, self.own)
        self.first.copy_(answers[0])
        self.first = None
        return (answers[1],)
