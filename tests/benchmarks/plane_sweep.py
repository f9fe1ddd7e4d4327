"""How fast the plane sweep is at full size; the last line printed is one JSON object.

    python -m tests.benchmarks.plane_sweep

One frame of 480 x 720 against 4 sources, 96 planes, one thread: seconds of each part in torch and
as compiled loops, taking turns, median of several rounds; with a CUDA GPU also there. The costs
must agree to rounding, or nothing is printed.
"""

from __future__ import annotations

import json
import statistics
import time
from unittest import mock

import torch

from anchorweave.geometry.cameras import Cameras, intrinsics
from anchorweave.perception import cost_volume
from anchorweave.perception.plane_sweep import PlaneSweepConfig
from tests.benchmarks.geometry import say

VIEW = (480, 720)
ROUNDS = 3
PARTS = ("photo_cost", "semi_global", "winner")
# Largest difference of smoothed costs, which add four path costs of at most 1 each.
ROUNDING = 5e-3


def views(device: str) -> tuple[torch.Tensor, Cameras]:
    """A smooth random picture [H, W] and five cameras beside each other: the view, then sources."""
    H, W = VIEW
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 1, H // 8, W // 8, generator=generator)
    picture = torch.nn.functional.interpolate(coarse, size=VIEW, mode="bilinear")[0, 0]
    c2w = torch.eye(4).repeat(5, 1, 1)
    c2w[1:, 0, 3] = torch.tensor([0.1, 0.2, -0.1, -0.2])
    K = intrinsics(0.8 * W, 0.8 * W, W / 2, H / 2).expand(5, 3, 3)
    return picture.to(device), Cameras(c2w, K, VIEW).to(device)


def sweep(compiled: bool, device: str) -> tuple[dict[str, float], torch.Tensor]:
    """Seconds of each part, and the smoothed costs."""
    config = PlaneSweepConfig()
    picture, cameras = views(device)
    sources = picture.expand(config.sources, *VIEW)
    planes = torch.linspace(0.2, 1.25, config.planes, device=device)
    times = []

    def now() -> None:
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter())

    with mock.patch.object(cost_volume, "_on_cpu", lambda values: compiled):
        now()
        cost = cost_volume.photo_cost(
            picture, cameras[0], sources, cameras[1:], planes, config.window
        )
        now()
        smooth = cost_volume.semi_global(cost, picture, config.small_jump, config.large_jump)
        now()
        cost_volume.winner(smooth, planes)
        now()
    seconds = {part: times[i + 1] - times[i] for i, part in enumerate(PARTS)}
    return seconds, smooth.cpu()


def main() -> None:
    torch.set_num_threads(1)
    kinds = {"torch": (False, "cpu"), "numba": (True, "cpu")}
    if torch.cuda.is_available():
        kinds["gpu"] = (False, "cuda")
    found = {kind: sweep(*of)[1] for kind, of in kinds.items()}  # compiles and warms up
    for kind, costs in found.items():
        if (costs - found["torch"]).abs().max() > ROUNDING:
            raise AssertionError(f"{kind} and torch find other costs")
    rounds: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    for _ in range(ROUNDS):
        for kind, of in kinds.items():
            rounds[kind].append(sweep(*of)[0])
            say(f"{kind}: {sum(rounds[kind][-1].values()):.2f} s")
    result = {
        kind: {part: round(statistics.median(turn[part] for turn in turns), 3) for part in PARTS}
        for kind, turns in rounds.items()
    }
    total = {kind: sum(parts.values()) for kind, parts in result.items()}
    speedups = {kind: round(total["torch"] / total[kind], 2) for kind in kinds if kind != "torch"}
    print(json.dumps({**result, "speedup_over_torch": speedups}))


if __name__ == "__main__":
    main()
