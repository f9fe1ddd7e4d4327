"""How fast rendering and retrieval are; the last line printed is one JSON object.

    python -m tests.benchmarks.geometry

Rendering: a memory of 450 x 600 points into 49 views of 480 x 720, milliseconds per view in steady
state (compiled, same number of threads for all three, taking turns), median of several rounds. The
copy moves as many bytes as rendering must read and write at the least (points and colours in;
image, mask and depth out), and allocates its output for 49 views afresh as rendering does.

Retrieval: a 49-frame target that comes back to the middle of a path through closed rooms, over
memories of 60 x 90 pixels; the path is the same for every number of memories, seen more or less
densely. Every size runs in a process of its own; `peak_mb` is the largest resident memory of that
whole process (interpreter, torch, numba and all), `baseline_mb` what it was before the memories
were made. Both renderers must show the same, or nothing is printed.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from anchorweave.geometry.cameras import Cameras, intrinsics
from anchorweave.geometry.footprint import footprints
from anchorweave.geometry.projection import unproject
from anchorweave.geometry.threads import in_threads
from anchorweave.rendering import point_splat, point_splat_numba
from anchorweave.retrieval import CoarseViews, RetrievalConfig, chunks, select
from anchorweave.retrieval.view_overlap import farthest, frustum_depths, view_overlap

SIZES = (100, 1_000, 10_000)
ROOM = torch.tensor([8.0, 3.0, 6.0])  # metres along x, y (height), z
ROOMS = 10
VIEW = (480, 720)
FRAMES = 49
THREADS = 2
ROUNDS = 9


def walk(times: torch.Tensor, size: tuple[int, int]) -> tuple[Cameras, torch.Tensor]:
    """Cameras [S] at `times` (in rooms, one after another along x) and their exact depth.

    Each room is gone through on a wavy line while looking around; walls close every room.
    """
    room, inside = times.floor(), times % 1
    centres = torch.stack(
        [
            (room + 0.1 + 0.8 * inside) * ROOM[0],
            torch.full_like(times, 1.5),
            ROOM[2] * (0.5 + 0.25 * torch.sin(4 * math.pi * inside)),
        ],
        dim=-1,
    )
    yaw = 2 * math.pi * (1.5 * inside + 0.1 * torch.sin(40 * times))
    c2w = torch.eye(4).repeat(len(times), 1, 1)
    c2w[:, 0, 0], c2w[:, 0, 2] = yaw.cos(), yaw.sin()
    c2w[:, 2, 0], c2w[:, 2, 2] = -yaw.sin(), yaw.cos()
    c2w[:, :3, 3] = centres
    H, W = size
    K = intrinsics(0.8 * W, 0.8 * W, W / 2, H / 2)
    cameras = Cameras(c2w, K.expand(len(times), 3, 3), size)
    depth = torch.empty(len(times), H, W)
    for i in range(len(times)):
        # Rays of unit depth: the distance along them to the first wall is the depth itself.
        rays = unproject(torch.ones(H, W), cameras[i]) - centres[i]
        low = torch.stack([room[i] * ROOM[0], torch.zeros(()), torch.zeros(())])
        walls = torch.where(rays > 0, low + ROOM, low)
        distance = (walls - centres[i]) / rays
        depth[i] = torch.where(rays == 0, math.inf, distance).amin(dim=-1)
    return cameras, depth


def milliseconds(work: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - start)


def measure_rendering() -> dict[str, float]:
    """Milliseconds per view of the torch reference, of numba, and of copying the same bytes."""
    torch.set_num_threads(THREADS)
    source, depth = walk(torch.tensor([0.4]), (450, 600))
    cloud = unproject(depth, source).reshape(-1, 3)
    colours = torch.rand(len(cloud), 3, generator=torch.Generator().manual_seed(0))
    target, _ = walk(torch.linspace(0.39, 0.43, FRAMES), VIEW)
    pixels = VIEW[0] * VIEW[1]
    moved = 24 * len(cloud) + pixels * (3 * 4 + 1 + 4)
    original = np.ones(moved // 2, np.uint8)  # a copy reads and writes every byte

    def copy() -> None:
        copies = np.empty((FRAMES, moved // 2), np.uint8)

        def some(worker: int, workers: int) -> None:
            for t in range(worker, FRAMES, workers):
                np.copyto(copies[t], original)

        in_threads(some, FRAMES)

    few = target[:4]
    fast = point_splat_numba.splat_points(cloud, colours, few)
    slow = point_splat.splat_points(cloud, colours, few)
    if not (torch.equal(fast.video, slow.video) and torch.equal(fast.depth, slow.depth)):
        raise AssertionError("the two renderers do not show the same")
    say(f"{len(cloud)} points, {fast.visible.float().mean():.0%} of the pixels visible")
    works = {
        "torch": (lambda: point_splat.splat_points(cloud, colours, few), len(few)),
        "numba": (lambda: point_splat_numba.splat_points(cloud, colours, target), FRAMES),
        "copy": (copy, FRAMES),
    }
    rounds = {name: [] for name in works}
    for turn in range(1 + ROUNDS):
        for name, (work, views) in works.items():
            per_view = milliseconds(work) / views
            if turn:  # the first round warms up
                rounds[name].append(per_view)
    ms = {name: statistics.median(times) for name, times in rounds.items()}
    say(", ".join(f"{name} {value:.2f} ms a view" for name, value in ms.items()))
    return {
        "points": len(cloud),
        "threads": THREADS,
        **{f"{name}_ms": round(value, 3) for name, value in ms.items()},
        "speedup_over_torch": round(ms["torch"] / ms["numba"], 2),
        "ratio_to_copy": round(ms["numba"] / ms["copy"], 2),
    }


def measure_retrieval(count: int) -> dict[str, object]:
    """Seconds and peak memory of one selection over `count` memories; run it in a fresh process."""
    torch.set_num_threads(THREADS)
    config = RetrievalConfig()
    small, depth = walk(torch.linspace(0.0, 0.99, 4), (60, 90))
    target, _ = walk(torch.linspace(0.0, 0.2, FRAMES), VIEW)
    select(target, CoarseViews(depth, small, ("",) * 4), config, 0)  # compiles
    baseline = peak_mb()
    cameras, depth = walk(torch.linspace(0.0, ROOMS - 1e-3, count), (60, 90))
    memories = CoarseViews(depth, cameras, tuple(str(i) for i in range(count)))
    # Between the memories' own places, so that none of them shows the target for nothing.
    target, _ = walk(torch.linspace(0.45, 0.65, FRAMES) + ROOMS // 2, VIEW)
    times = [milliseconds(lambda: select(target, memories, config, 0)) for _ in range(5)]
    peak = peak_mb()
    reports = select(target, memories, config, 0)
    return {
        "seconds": round(statistics.median(times) / 1e3, 3),
        "peak_mb": round(peak),
        "baseline_mb": round(baseline),
        "same_picks_as_plain_greedy": reports_equal_plain_greedy(target, memories, config, reports),
        "pool": [report.pool for report in reports],
        "coverage": [round(r.picks[-1].coverage, 3) for r in reports],
    }


def reports_equal_plain_greedy(target, memories, config, reports) -> bool:
    """Whether a search that measures every candidate every time picks the same memories."""
    views = target.resized((60, 90))
    depths, far = frustum_depths(memories), farthest(memories)
    for report, (start, stop) in zip(reports, chunks(FRAMES, config.chunk), strict=True):
        chunk = views[start:stop]
        enough = view_overlap(chunk, memories, depths, far) >= config.min_overlap
        pool = [i for i in enough.nonzero()[:, 0].tolist() if i != 0]
        sets = footprints(memories.depth, memories.cameras, chunk, torch.tensor([0, *pool]))
        seen = np.unpackbits(sets.numpy().view(np.uint8), axis=1).astype(bool)
        pixels, picks, covered = (stop - start) * 60 * 90, [0], seen[0].copy()
        while len(picks) < config.anchors and not covered.sum() == pixels:
            gains = [int((row & ~covered).sum()) for row in seen[1:]]
            best = max(range(len(pool)), key=lambda row: (gains[row], row), default=None)
            if best is None or gains[best] <= config.min_gain * pixels:
                break
            picks.append(pool[best])
            covered |= seen[1 + best]
        if picks != [pick.memory for pick in report.picks]:
            return False
    return True


def peak_mb() -> float:
    """Largest resident memory of this process so far."""
    # Not getrusage: its maximum is handed down from the process that started this one.
    with open("/proc/self/status") as status:
        lines = dict(line.split(":", 1) for line in status)
    return int(lines["VmHWM"].split()[0]) / 1024


def say(text: str) -> None:
    """Progress, kept apart from the result."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measures everything, or with a number, retrieval over that many memories."""
    if len(sys.argv) > 1:
        print(json.dumps(measure_retrieval(int(sys.argv[1]))))
        return
    say("rendering: 49 views of 480 x 720")
    render = measure_rendering()
    retrieval = {}
    for count in SIZES:
        say(f"retrieval: {count} memories")
        command = [sys.executable, "-m", "tests.benchmarks.geometry", str(count)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        retrieval[str(count)] = json.loads(done.stdout.splitlines()[-1])
        say(json.dumps(retrieval[str(count)]))
    print(json.dumps({"render": render, "retrieval": retrieval}))


if __name__ == "__main__":
    main()
