"""Runs compiled kernels, which release the GIL, on several threads.

numba's own parallel loops are not used: their thread pools end the process when it forks (as data
loaders do) or when two threads enter them, and they do not know the limits that torch was given.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch


def in_threads(work: Callable[[int, int], None], items: int) -> None:
    """Calls `work(worker, workers)` once for every worker, all at the same time.

    There are as many workers as torch may use threads, but not more than `items`. Worker i is
    meant to take the items i, i + workers, i + 2 * workers and so on.
    """
    workers = max(min(torch.get_num_threads(), items), 1)
    if workers == 1:
        work(0, 1)
        return
    with ThreadPoolExecutor(workers) as pool:
        for done in [pool.submit(work, worker, workers) for worker in range(workers)]:
            done.result()
