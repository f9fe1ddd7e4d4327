"""How fast procedural rooms are made; the last line printed is one JSON object.

    taskset -c 0 python -m tests.benchmarks.rooms

Frames of 128 x 192 on one core, in steady state: medians over a walk, in milliseconds, and the
least, which says more on a machine that has other things to do. `open_s` is the time from words to
the first camera of a room that was not open yet (textures, furniture and a walk); `first_frame_s`
is what its first colour frame takes beyond any other (levels of detail, shadow maps). Both are
medians over several rooms; the kernels are compiled before.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable

import torch

from anchorweave.recordings import open_recording

SIZE = "128x192"
FRAMES = 72
ROOMS = range(100, 105)


def seconds(work: Callable[[], object]) -> float:
    """How long `work` takes, once."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def milliseconds(work: Callable[[int], object]) -> dict[str, float]:
    """How long `work` takes on each frame of a walk."""
    times = [1e3 * seconds(lambda i=i: work(i)) for i in range(FRAMES)]
    return {"median": round(statistics.median(times), 2), "least": round(min(times), 2)}


def main() -> None:
    """Opens some rooms, and walks through the last of them."""
    torch.set_num_threads(1)
    warm = open_recording(f"procedural:seed=1,frames=2,size={SIZE}")
    warm.frame(0), warm.depth(0)
    opened, first = [], []
    for seed in ROOMS:
        words = f"procedural:seed={seed},frames={FRAMES},size={SIZE}"
        opened.append(seconds(lambda words=words: open_recording(words)))
        room = open_recording(words)
        first.append(seconds(lambda room=room: room.frame(0)))
    colour = milliseconds(room.frame)
    result = {
        "size": SIZE,
        "colour_ms": colour,
        "depth_ms": milliseconds(room.depth),
        "open_s": round(statistics.median(opened), 3),
        "first_frame_s": round(statistics.median(first) - colour["median"] / 1e3, 3),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
