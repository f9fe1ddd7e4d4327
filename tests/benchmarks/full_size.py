r"""The networks at full size: seconds and peak memory of every variant, one JSON line each.

    python -m tests.benchmarks.full_size --seconds 280              # on a GPU of 80 GB or more
    python -m tests.benchmarks.full_size --size toy                 # what runs, on a CPU
    python -m tests.benchmarks.full_size --only train --family wan

Random weights, bfloat16 (controller float32 where it is trained), batch 1: CogVideoX-5B at 480x720,
49 frames, four anchors; or Wan2.2-5B at 480x832, 81 frames. The most important variants come first;
what the deadline leaves no time for is named in the last line. `seconds` is the median after one
call to warm up (`first_seconds`, which compiles where that is asked for). A variant that fails says
so in `error` and the others go on.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tests.benchmarks.full_size_parts import Sizes, sizes_of, variants_of

Work = Callable[[], Any]


@dataclass(frozen=True)
class Variant:
    """Something to measure.

    Args:
        name: of its line.
        prepare: makes what is called, with facts about it; all that it holds is freed behind it.
    """

    name: str
    prepare: Callable[[Sizes], tuple[Work, dict[str, Any]]]


def measure(variant: Variant, sizes: Sizes, repeats: int) -> dict[str, Any]:
    """One line: seconds, peak memory and what the variant says of itself."""
    line: dict[str, Any] = {"variant": variant.name}
    cuda = sizes.device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    try:
        work, facts = variant.prepare(sizes)
        line["first_seconds"] = round(_timed(work, cuda), 4)
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        seconds = [_timed(work, cuda) for _ in range(repeats)]
        line |= {"seconds": round(statistics.median(seconds), 4), "repeats": repeats, **facts}
        if cuda:
            line["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    # One variant may lack memory or a kernel; its line says so.
    except (RuntimeError, ValueError, ImportError) as error:
        line["error"] = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
    return line


def _timed(work: Work, cuda: bool) -> float:
    if cuda:
        torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began


def main(words: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Measure until all is done or time is over; the lines that were printed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=280, help="deadline of the whole run")
    parser.add_argument("--size", choices=("full", "toy"), default="full")
    parser.add_argument("--family", choices=("cogvideox", "wan"), default="cogvideox")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="variants whose names hold this word")
    given = parser.parse_args(words)
    began = time.monotonic()
    sizes = sizes_of(given.family, given.size)
    name = "CPU"
    if sizes.device.type == "cuda":
        name = torch.cuda.get_device_name()
    elif given.size == "full":
        parser.error("--size full needs a CUDA GPU; --size toy runs anywhere")
    lines, left = [], []
    lines.append({"device": name, "torch": torch.__version__, "family": given.family} | sizes.facts)
    print(json.dumps(lines[0]), flush=True)
    for variant_name, prepare in variants_of(given.family):
        if given.only not in variant_name:
            continue
        if time.monotonic() - began > given.seconds:
            left.append(variant_name)
            continue
        lines.append(measure(Variant(variant_name, prepare), sizes, given.repeats))
        print(json.dumps(lines[-1]), flush=True)
        # Also a failed variant's networks, which its traceback held.
        gc.collect()
        if "compiled" in variant_name:
            torch._dynamo.reset()
        if sizes.device.type == "cuda":
            torch.cuda.empty_cache()
    lines.append({"seconds": round(time.monotonic() - began, 1), "left_out": left})
    print(json.dumps(lines[-1]), flush=True)
    return lines


if __name__ == "__main__":
    main()
