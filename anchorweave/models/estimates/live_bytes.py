"""Counts the bytes of tensors that are alive while networks run, operation by operation.

On the meta device this equals the requests to a GPU's allocator, except for kernel workspaces: the
same code runs as on a GPU. On an H200 about a tenth more was measured; see inference/README.md.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten


class LiveBytes(TorchDispatchMode):
    """Counts within a `with` block; tensors that share a storage are counted once.

    Args:
        held: tensors that exist from the beginning, such as weights.
        device: device of the counted tensors.

    Attributes:
        now: bytes alive.
        peak: maximum at any time.
    """

    def __init__(self, held: Iterable[Tensor] = (), device: str | torch.device = "meta"):
        super().__init__()
        self.device = torch.device(device)
        self.now = self.peak = 0
        self._alive: dict[int, weakref.ref] = {}
        for tensor in held:
            self._count(tensor)

    def __torch_dispatch__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """The operation's own result."""
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, Tensor):
                self._count(leaf)
        return made

    def _count(self, tensor: Tensor) -> None:
        if tensor.device.type != self.device.type:
            return
        storage = tensor.untyped_storage()
        key, size = id(storage), storage.nbytes()
        if key in self._alive:
            return
        self._alive[key] = weakref.ref(storage, partial(self._forget, key, size))
        self.now += size
        self.peak = max(self.peak, self.now)

    def _forget(self, key: int, size: int, _: weakref.ref) -> None:
        self.now -= size
        del self._alive[key]


class FusedAttention(TorchFunctionMode):
    """Attention as one kernel, as on a GPU; the meta device would allocate the scores."""

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Attention's output, or that of `func` for other functions."""
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        return _fused(*args, **kwargs)


def _fused(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *_: Any, **__: Any
) -> Tensor:
    if attn_mask is None and query.shape[-1] <= 256:
        return aten._scaled_dot_product_flash_attention(query, key, value)[0]
    # Only this kernel supports masks and wide heads.
    return aten._scaled_dot_product_efficient_attention(query, key, value, attn_mask, False)[0]


class StatedNumbers(TorchDispatchMode):
    """Provides values that the host reads from tensors without data: lists and scalars.

    Args:
        listed: value of every element of a tensor copied to the CPU.
        scalars: called for a value that is read alone, such as a timestep.
    """

    def __init__(self, listed: int, scalars: Callable[[], int]):
        super().__init__()
        self._listed, self._scalars = listed, scalars

    def __torch_dispatch__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """The provided value where one is read, else the operation's own result."""
        kwargs = kwargs or {}
        if func is aten._local_scalar_dense.default and args[0].is_meta:
            return self._scalars()
        to = kwargs.get("device")
        if func is aten._to_copy.default and args[0].is_meta and to is not None:
            if torch.device(to).type == "cpu":
                return torch.full(args[0].shape, self._listed, dtype=args[0].dtype)
        return func(*args, **kwargs)
