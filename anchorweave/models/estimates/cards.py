"""Memory of GPUs, and the part not available to networks."""

from __future__ import annotations

GIB = 2**30
# Nominal sizes in GiB; GPUs sold with 141 GB have 140 GiB, the others as many GiB as their name.
GPUS = {"24": 24 * GIB, "40": 40 * GIB, "80": 80 * GIB, "141": 140 * GIB}
# Reserved for fragmentation.
MARGIN = 0.05
# Context, kernels and libraries of a process on a GPU, in bytes.
PROCESS = 1.5 * GIB


def fits(total: float) -> list[str]:
    """Names of the GPUs with enough memory.

    Args:
        total: bytes used by one process, including `PROCESS`.
    """
    return [name for name, size in GPUS.items() if total <= size * (1 - MARGIN)]
