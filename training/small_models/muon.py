"""Muon for convolution kernels, AdamW for everything else (Jordan 2024, Liu 2025).

Muon steps along the orthogonalised momentum of a matrix; a kernel is treated as the matrix from its
inputs to its outputs. A small autoencoder needs a third of AdamW's steps with it.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.optim import AdamW, Muon

from training.engine.weights import fill_optimizer, optimizer_tensors

# Kernels with fewer input or output channels are lists of vectors rather than matrices.
FEWEST_CHANNELS = 9


class MuonAndAdamW:
    """The two optimisers, stepped as one.

    Args:
        parameters: parameters of a network, by name; kernels contiguous or channels-last.
        learning_rate: for both: Muon's steps are scaled to the size of AdamW's (Liu 2025, eq. 4).
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], learning_rate: float):
        self._kernels = {name: p for name, p in parameters.items() if _is_kernel(p)}
        # Views of the kernels' memory, so that a step on one is a step on the other.
        self._matrices = {
            name: nn.Parameter(_as_matrix(kernel.detach(), kernel))
            for name, kernel in self._kernels.items()
        }
        for name, kernel in self._kernels.items():
            assert self._matrices[name].data_ptr() == kernel.data_ptr(), name
        self._rest = {name: p for name, p in parameters.items() if name not in self._kernels}
        self._muon = Muon(
            self._matrices.values(),
            lr=learning_rate,
            weight_decay=0.0,
            adjust_lr_fn="match_rms_adamw",
        )
        self._adamw = AdamW(
            self._rest.values(), lr=learning_rate, betas=(0.9, 0.99), weight_decay=0.0
        )

    def step(self, learning_rate: float) -> None:
        """One step along the parameters' gradients, which are then cleared."""
        for name, kernel in self._kernels.items():
            self._matrices[name].grad = _as_matrix(kernel.grad, kernel)
        for optimizer in (self._muon, self._adamw):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            optimizer.step()
            optimizer.zero_grad()
        for kernel in self._kernels.values():
            kernel.grad = None

    def tensors(self) -> dict[str, Tensor]:
        """The state of both, `parameter/what` -> tensor."""
        return optimizer_tensors(self._muon, self._matrices) | optimizer_tensors(
            self._adamw, self._rest
        )

    def fill(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `tensors`."""
        for optimizer, mine in ((self._muon, self._matrices), (self._adamw, self._rest)):
            state = {key: t for key, t in tensors.items() if key.rpartition("/")[0] in mine}
            fill_optimizer(optimizer, mine, state)


def _is_kernel(parameter: nn.Parameter) -> bool:
    return parameter.ndim >= 4 and min(parameter.shape[:2]) >= FEWEST_CHANNELS


def _as_matrix(tensor: Tensor, kernel: Tensor) -> Tensor:
    """A tensor [O, I, ...] as a matrix [O, I * ...], with columns in `kernel`'s memory order."""
    return (tensor if kernel.is_contiguous() else tensor.movedim(1, -1)).reshape(len(tensor), -1)
