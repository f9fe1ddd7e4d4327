"""Runs compiled kernels, which release the GIL, on several threads.

numba's own parallel loops are not used: their thread pools crash the process when it forks (as data
loaders do) or when two threads enter them, and they ignore torch's thread limit.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch


def in_threads(work: Callable[[int, int], None], items: int) -> None:
    """Calls `work(worker, workers)` once per worker, concurrently.

    Uses as many workers as torch may use threads, but at most `items`. Worker i is meant to process
    items i, i + workers, i + 2 * workers and so on.
    """
    workers = max(min(torch.get_num_threads(), items), 1)
    if workers == 1:
        work(0, 1)
        return
    with ThreadPoolExecutor(workers) as pool:
        for done in [pool.submit(work, worker, workers) for worker in range(workers)]:
            done.result()
