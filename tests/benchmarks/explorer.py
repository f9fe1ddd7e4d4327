"""How fast the explorer answers what memory shows of a view; the last line printed is JSON.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.explorer

Memories of 48 x 64 pixels, a walk through closed rooms, as local clouds. At each size, in
milliseconds over views beside the walk: `median` and `p95` of what `memory.retrieve` takes for one
view, chosen and drawn, with the frames that it reads for the first time among them; `picture`, the
median of what the page's picture takes besides; `first`, the very first answer, which reads what
retrieval knows of all memories.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from anchorweave.geometry.cameras import Cameras
from anchorweave.memory import Bank, LocalClouds
from inference.explorer.live import look, picture
from tests.benchmarks.banks import AT_ONCE, FRAME, stretch
from tests.benchmarks.geometry import say, walk

SIZES = (100, 1_000, 10_000)
VIEWS = 200


def views(size: int) -> Cameras:
    """Views beside the walk, each a little aside of where a frame was seen."""
    random = torch.Generator().manual_seed(size)
    at = 0.05 + 0.0017 * size * torch.rand(VIEWS, generator=random)
    cameras, _ = walk(at, FRAME)
    c2w = cameras.c2w.clone()
    c2w[:, :3, 3] += 0.05 * torch.randn(VIEWS, 3, generator=random)
    return replace(cameras, c2w=c2w)


def measure(path: Path, size: int) -> dict[str, float]:
    """Answers over a memory grown to `size` frames."""
    memory = LocalClouds(Bank(path))
    for start in range(len(memory), size, AT_ONCE):
        memory.update(stretch(start, AT_ONCE))
    memory, asked = LocalClouds(Bank(path)), views(size)
    first = look(memory, asked[:1]).seconds
    answers, pictures = [], []
    for i in range(VIEWS):
        looked = look(memory, asked[i : i + 1])
        answers.append(looked.seconds)
        start = time.perf_counter()
        picture(looked)
        pictures.append(time.perf_counter() - start)
    found = {
        "median": statistics.median(answers),
        "p95": statistics.quantiles(answers, n=20)[-1],
        "picture": statistics.median(pictures),
        "first": first,
    }
    return {name: round(1000 * value, 1) for name, value in found.items()}


def main() -> None:
    """Measures every size."""
    torch.set_num_threads(1)
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        # Compiled before anything is timed.
        measure(Path(folder) / "warm", AT_ONCE)
        for size in SIZES:
            result[str(size)] = measure(Path(folder) / "memory", size)
            say(f"{size} memories: {result[str(size)]}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
