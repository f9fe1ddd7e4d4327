"""Selects past frames as context by their cameras alone (Context-as-Memory, section 4).

Candidates are frames that look at what the target will show; of temporal neighbours, which look
nearly the same, one is kept; of the rest, those far from each other are preferred. The paper uses a
fixed number of frames: if these rules leave too few, the rest are drawn at random.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anchorweave.retrieval.random_choice import random_order

# Relative rounding error of a coordinate.
ROUNDING = 1e-6


def shuffled(frames: Sequence[int], seed: int, chunk: int) -> list[int]:
    """The frames in random order, deterministic for a given (frames, seed, chunk)."""
    return [frames[i] for i in random_order(len(frames), seed, chunk)]


def one_of_each_run(frames: Sequence[int], seed: int, chunk: int) -> tuple[list[int], list[int]]:
    """One random frame per run of consecutive frames, and the remaining frames.

    Args:
        frames: frame numbers, increasing.
        seed: seed of the random choice.
        chunk: index of the part of the target that they are chosen for.

    Returns:
        Both in random order.

    Source: Context-as-Memory, section 4, "Non-adj".
    """
    # Within a run numbers grow by 1, so number minus position is constant.
    runs = {frame: frame - i for i, frame in enumerate(frames)}
    chosen: dict[int, int] = {}
    rest: list[int] = []
    for frame in shuffled(frames, seed, chunk):
        if chosen.setdefault(runs[frame], frame) != frame:
            rest.append(frame)
    return list(chosen.values()), rest


def farthest_first(
    frames: Sequence[int], chosen: Sequence[int], centres: Float[Tensor, "M 3"], count: int
) -> list[int]:
    """At most `count` frames, each the farthest from all chosen before it.

    Far in space or in time. Distances are relative: in space to the diagonal of the bounding box of
    all M cameras, in time to the number M of frames; the larger of the two counts (the paper names
    both but gives no measure).

    Args:
        frames: frame numbers, increasing; ties go to the newest.
        chosen: frames chosen earlier.
        centres: camera positions of all M frames.
        count: number of frames to take.

    Source: Context-as-Memory, section 4, "Far-st".
    """
    if not len(frames):
        return []
    places = centres - centres.amin(dim=0)
    diagonal = places.amax(dim=0).norm()
    # A camera that rotates in place only moves by rounding errors, which do not count as distance.
    still = diagonal <= ROUNDING * centres.abs().max()
    places = torch.zeros_like(places) if still else places / diagonal
    numbers = torch.as_tensor(list(frames))
    nearest = torch.full((len(frames),), float("inf"), dtype=centres.dtype)

    def apart(frame: int) -> Tensor:
        space = (places[numbers] - places[frame]).norm(dim=-1)
        return torch.maximum(space, (numbers - frame).abs().to(space) / len(centres))

    for frame in chosen:
        nearest = torch.minimum(nearest, apart(frame))
    order: list[int] = []
    for _ in range(min(count, len(frames))):
        # The last among ties; a frame already taken is never the farthest again.
        farthest = int((nearest == nearest.max()).nonzero()[-1])
        order.append(int(numbers[farthest]))
        nearest = torch.minimum(nearest, apart(order[-1]))
        nearest[farthest] = -1.0
    return order


def non_adjacent_order(frames: Sequence[int], seed: int, chunk: int) -> list[int]:
    """First one frame per run, then the others, both in random order; see `one_of_each_run`."""
    first, rest = one_of_each_run(frames, seed, chunk)
    return first + rest


def far_order(
    frames: Sequence[int],
    chosen: Sequence[int],
    centres: Float[Tensor, "M 3"],
    count: int,
    seed: int,
    chunk: int,
) -> list[int]:
    """First one frame per run, farthest first, then the others in random order.

    See `one_of_each_run` and `farthest_first`, which the paper combines. At most `count` of the
    former are ordered, as ordering all of them is slow.
    """
    first, rest = one_of_each_run(frames, seed, chunk)
    return farthest_first(sorted(first), chosen, centres, count) + rest


@dataclass(frozen=True)
class Asked:
    """A request: `count` of the `frames` in view, in addition to those `chosen` already."""

    frames: list[int]
    chosen: Sequence[int]
    centres: Float[Tensor, "M 3"]
    count: int
    seed: int


def _whatever(asked: Asked) -> list[int]:
    return []


def _in_view(asked: Asked) -> list[int]:
    return shuffled(asked.frames, asked.seed, 0)


def _non_adjacent(asked: Asked) -> list[int]:
    return non_adjacent_order(asked.frames, asked.seed, 0)


def _far(asked: Asked) -> list[int]:
    return far_order(asked.frames, asked.chosen, asked.centres, asked.count, asked.seed, 0)


def _newest(asked: Asked) -> list[int]:
    return asked.frames[::-1]


# Baselines of table 1 that ignore cameras: the first frame alone, the first and random others, the
# newest frames.
FIRST = ("first", "first_and_random")
WITHOUT_VIEWS = ("random", "recent", *FIRST)
# The order in which frames in view are taken; missing ones are drawn from all others.
CONTEXT_CHOICES: dict[str, Callable[[Asked], list[int]]] = {
    "first": _whatever,
    "first_and_random": _whatever,
    "recent": _newest,
    "random": _whatever,
    "random_in_view": _in_view,
    "non_adjacent": _non_adjacent,
    "far": _far,
}


def choose_context(
    in_view: Bool[Tensor, " M"],
    centres: Float[Tensor, "M 3"],
    chosen: Sequence[int],
    count: int,
    choose: str,
    seed: int,
) -> tuple[list[int], str]:
    """At most `count` of M past frames as context for one target.

    Args:
        in_view: which frames look at something that a target frame will show.
        centres: their camera positions.
        chosen: frames that are returned anyway.
        count: number of frames to choose in addition.
        choose: random takes any frames, whether in view or not; random_in_view those in view first;
            non_adjacent first one of each run of consecutive frames in view; far the same, farthest
            from each other first. recent takes the newest of all; first adds none to those chosen,
            first_and_random any.
        seed: seed of all random choices.

    Returns:
        The numbers of the frames in the order in which they were chosen, and why there are no more.

    Raises:
        ValueError: an unknown strategy.
    """
    if choose not in CONTEXT_CHOICES:
        raise ValueError(f"choose must be one of {', '.join(CONTEXT_CHOICES)}, got {choose!r}")
    if choose == "first":
        return [], "the first frame alone"
    used, looking = set(chosen), in_view.tolist()
    others = [frame for frame in range(len(looking)) if frame not in used]
    seen = [frame for frame in others if looking[frame]]
    order = CONTEXT_CHOICES[choose](Asked(seen, chosen, centres, count, seed))
    taken, used = order[:count], set(order)
    left = [frame for frame in others if frame not in used]
    filled = shuffled(left, seed, 1)[: count - len(taken)]
    if len(taken) + len(filled) < count:
        return taken + filled, "every frame is given"
    if choose in WITHOUT_VIEWS or not filled:
        return taken + filled, "K reached"
    return taken + filled, f"K reached, {len(filled)} at random because {len(taken)} are in view"
