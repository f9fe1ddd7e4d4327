"""A forward and backward pass with fixed shapes, on a GPU as one CUDA graph.

In a small network with many small kernels, the GPU waits for the host, which launches them one by
one. A graph is recorded once and then launched as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

# Warm-up runs before recording, in which libraries select kernels and reserve memory.
REHEARSALS = 3


class CapturedStep:
    """Runs `step` and its backward pass; sets the parameters' gradients.

    Args:
        step: maps tensors to results, the first of which is the loss. On a GPU it must not depend
            on values of its inputs in Python (`item()`), and is called with buffers that are
            reused.
        parameters: parameters to differentiate; on a GPU their gradients use the same memory in
            every call, and are overwritten.
    """

    def __init__(self, step: Callable[..., tuple[Tensor, ...]], parameters: Iterable[nn.Parameter]):
        self._step, self._parameters = step, list(parameters)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[Tensor] = []
        self._results: tuple[Tensor, ...] = ()
        self._gradients: list[Tensor] = []

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The results of one step on `inputs`, whose shapes must be the same in every call."""
        if inputs[0].device.type != "cuda":
            return self._forward_and_backward(inputs)
        if self._graph is None:
            self._record(inputs)
        for buffer, value in zip(self._inputs, inputs, strict=True):
            buffer.copy_(value)
        self._graph.replay()
        # An optimiser may have set them to None.
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient
        return self._results

    def _forward_and_backward(self, inputs: Iterable[Tensor]) -> tuple[Tensor, ...]:
        results = self._step(*inputs)
        results[0].backward()
        return tuple(result.detach() for result in results)

    def _record(self, inputs: Iterable[Tensor]) -> None:
        self._inputs = [value.clone() for value in inputs]
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(REHEARSALS):
                self._forget()
                self._forward_and_backward(self._inputs)
        torch.cuda.current_stream().wait_stream(aside)
        self._forget()
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._results = self._forward_and_backward(self._inputs)
        self._gradients = [parameter.grad for parameter in self._parameters]

    def _forget(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None
