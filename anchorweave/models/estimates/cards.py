"""Memory of GPUs, and what of it networks cannot have."""

from __future__ import annotations

GIB = 2**30
# Nominal sizes; what is sold as 141 GB holds 140 GiB, the others as many GiB as they are called.
GPUS = {"24": 24 * GIB, "40": 40 * GIB, "80": 80 * GIB, "141": 140 * GIB}
# Left free for the gaps between allocations.
MARGIN = 0.05
# Context, kernels and libraries of a process on a GPU, in bytes.
PROCESS = 1.5 * GIB


def fits(total: float) -> list[str]:
    """Names of the GPUs that hold so many bytes.

    Args:
        total: bytes of one process, `PROCESS` among them.
    """
    return [name for name, size in GPUS.items() if total <= size * (1 - MARGIN)]
