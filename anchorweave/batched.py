"""Batched: base of dataclasses that hold B samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import torch
from torch import Tensor

Kind = TypeVar("Kind", bound="Batched")


@dataclass(frozen=True)
class Batched:
    """Values of B samples that are moved, repeated and concatenated together.

    Fields are tensors with the samples along the first dimension, tuples, nested `Batched` objects,
    or None if unknown; new fields of these kinds need no extra code here or in subclasses.
    """

    def to(
        self: Kind,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        non_blocking: bool = False,
    ) -> Kind:
        """A copy on another device; floating-point tensors also in another dtype."""

        def moved(tensor: Tensor) -> Tensor:
            other = dtype if tensor.is_floating_point() else None
            return tensor.to(device=device, dtype=other, non_blocking=non_blocking)

        return self._changed(moved)

    def pin_memory(self: Kind) -> Kind:
        """A copy in pinned memory, for asynchronous copies to a GPU; used by torch's loader."""
        return self._changed(Tensor.pin_memory)

    def repeat(self: Kind, times: int) -> Kind:
        """The batch repeated `times` times (sample order 0..B-1, 0..B-1, ...), as for guidance."""
        return self.join([self] * times)

    @classmethod
    def join(cls: type[Kind], parts: Sequence[Kind]) -> Kind:
        """Concatenates the samples of all parts; a field that any part lacks becomes None."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            **{
                field.name: _joined([getattr(part, field.name) for part in parts])
                for field in fields(cls)
            }
        )

    def _changed(self: Kind, change: Callable[[Tensor], Tensor]) -> Kind:
        def changed(value: Any) -> Any:
            if isinstance(value, Tensor):
                return change(value)
            return value._changed(change) if isinstance(value, Batched) else value

        values = {field.name: changed(getattr(self, field.name)) for field in fields(self)}
        return type(self)(**values)


def _joined(values: Sequence[Any]) -> Any:
    first = values[0]
    if any(value is None for value in values):
        return None
    if isinstance(first, Tensor):
        return torch.cat(list(values))
    if isinstance(first, Batched):
        return type(first).join(values)
    return tuple(entry for value in values for entry in value)
