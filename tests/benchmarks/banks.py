"""How fast memory banks open and grow; the last line printed is one JSON object.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.banks

Banks of 48 x 64 pixels, a walk through closed rooms, grown 50 frames at a time. At each size, in
seconds: `open`, from the path to a memory that can be asked, and `first_retrieve`, its first answer
for 49 target cameras (each the least of several); `next_retrieve`, any further one; `append`, to
remember 4 frames more (the median of several). `without_views` is the first answer of a memory
whose `views-*.bin` was removed, or that an earlier version wrote. What is retrieved is the same
with and without, or nothing is printed. `evict`: one frame more for a memory of 32 or 500 frames
that is full, whose coarse views are those of 480 x 720.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from anchorweave.clip import Clip
from anchorweave.memory import Bank, LocalClouds
from anchorweave.memory.limited import Limited, subset
from anchorweave.memory.local_clouds import SAME_SURFACE
from anchorweave.retrieval.coarse_views import CoarseViews
from tests.benchmarks.geometry import say, walk

SIZES = (1_000, 5_000)
FRAME = (48, 64)
AT_ONCE, ADDED, TIMES = 50, 4, 5
LIMITS, COARSE = (32, 500), (60, 90)


def seconds(work: Callable[[], object]) -> float:
    """How long `work` takes, once."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def stretch(start: int, count: int) -> Clip:
    """Frames of the walk, the same ones whoever asks; their colours tell nothing."""
    cameras, depth = walk(0.05 + torch.arange(start, start + count) * 0.0017, FRAME)
    frames = torch.rand(count, 3, *FRAME, generator=torch.Generator().manual_seed(start))
    return Clip(frames, depth, cameras, tuple(f"{i:06d}" for i in range(start, start + count)))


def measure(path: Path, size: int) -> dict[str, float]:
    """A bank grown to `size` frames, opened, asked and added to."""
    memory = LocalClouds(Bank(path))
    for start in range(len(memory), size, AT_ONCE):
        memory.update(stretch(start, AT_ONCE))
    target, _ = walk(0.05 + 0.0017 * (size // 2 + torch.linspace(0, 60, 49)), FRAME)
    opened, first = [], []
    for _ in range(TIMES):
        start = time.perf_counter()
        memory = LocalClouds(Bank(path))
        opened.append(time.perf_counter() - start)
        first.append(seconds(lambda memory=memory: memory.retrieve(target)))
    expected = memory.retrieve(target).report
    later = seconds(lambda: memory.retrieve(target))
    (views,) = path.glob("views-*.bin")
    kept = views.read_bytes()
    views.unlink()
    memory = LocalClouds(Bank(path))
    without = seconds(lambda: memory.retrieve(target))
    if memory.retrieve(target).report != expected:
        raise AssertionError("another choice without the stored views")
    views.write_bytes(kept)
    memory = LocalClouds(Bank(path))
    parts = [stretch(size + i * ADDED, ADDED) for i in range(1 + TIMES)]
    added = [seconds(lambda part=part: memory.update(part)) for part in parts]
    result = {
        "open": min(opened),
        "first_retrieve": min(first),
        "next_retrieve": later,
        # The first one reads the views.
        "first_append": added[0],
        "append": statistics.median(added[1:]),
        "without_views": without,
    }
    return {name: round(value, 4) for name, value in result.items()}


def evicting(limit: int) -> float:
    """Seconds per frame that is offered to a full memory of `limit` frames."""
    cameras, depth = walk(0.05 + torch.arange(limit + ADDED * TIMES) * 0.01, COARSE)
    views = CoarseViews(depth, cameras, tuple(map(str, range(len(depth)))))
    kept = Limited(limit, "least_unique", SAME_SURFACE)
    for i in range(limit):
        kept.offer(subset(views, [i]))
    more = [subset(views, [i]) for i in range(limit, len(depth))]
    return round(statistics.median(seconds(lambda v=view: kept.offer(v)) for view in more), 4)


def main() -> None:
    """Measures every size."""
    torch.set_num_threads(1)
    result = {}
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            result[str(size)] = measure(Path(folder) / "memory", size)
        say(f"{size} frames: {result[str(size)]}")
    result["evict"] = {str(limit): evicting(limit) for limit in LIMITS}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
