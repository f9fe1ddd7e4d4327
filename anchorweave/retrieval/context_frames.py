"""Which past frames are the context, by their cameras alone (Context-as-Memory, section 4).

Frames that look at what the target will show are kept; of neighbours in time, which show nearly the
same, one; of what is left, those that lie far from each other. The paper takes a fixed number of
frames: where the rules leave too few, the others are drawn at random.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from anchorweave.retrieval.random_choice import random_order

# Share of a coordinate that rounding may move it by.
ROUNDING = 1e-6


def shuffled(frames: Sequence[int], seed: int, chunk: int) -> list[int]:
    """The frames in an order that is random but the same for the same (frames, seed, chunk)."""
    return [frames[i] for i in random_order(len(frames), seed, chunk)]


def one_of_each_run(frames: Sequence[int], seed: int, chunk: int) -> tuple[list[int], list[int]]:
    """One random frame of each run of consecutive ones, and the remaining frames.

    Args:
        frames: their numbers, increasing.
        seed: of the random choice.
        chunk: which part of a target it is for.

    Returns:
        Both in random order.

    Source: Context-as-Memory, section 4, "Non-adj".
    """
    # Numbers grow by 1 within a run, so that number minus position stays what it is.
    runs = {frame: frame - i for i, frame in enumerate(frames)}
    kept: dict[int, int] = {}
    rest: list[int] = []
    for frame in shuffled(frames, seed, chunk):
        if kept.setdefault(runs[frame], frame) != frame:
            rest.append(frame)
    return list(kept.values()), rest


def farthest_first(
    frames: Sequence[int], chosen: Sequence[int], centres: Float[Tensor, "M 3"], count: int
) -> list[int]:
    """At most `count` frames, each the farthest from all chosen before it.

    Far in space or in time. Distances are shares: in space of the diagonal of the box around all M
    cameras, in time of all M frames; of both the larger counts (the paper names both and no
    measure).

    Args:
        frames: their numbers, increasing; of equally far ones the newest comes first.
        chosen: frames that were chosen before.
        centres: camera positions of all M frames.
        count: how many to take.

    Source: Context-as-Memory, section 4, "Far-st".
    """
    if not len(frames):
        return []
    places = centres - centres.amin(dim=0)
    diagonal = places.amax(dim=0).norm()
    # A camera that turns on the spot moves by what rounding leaves, which is no distance.
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
        # The last of equal ones; what was taken is never the farthest again.
        farthest = int((nearest == nearest.max()).nonzero()[-1])
        order.append(int(numbers[farthest]))
        nearest = torch.minimum(nearest, apart(order[-1]))
        nearest[farthest] = -1.0
    return order


def non_adjacent_order(frames: Sequence[int], seed: int, chunk: int) -> list[int]:
    """First one frame of each run, then the others, both at random; see `one_of_each_run`."""
    kept, rest = one_of_each_run(frames, seed, chunk)
    return kept + rest


def far_order(
    frames: Sequence[int],
    chosen: Sequence[int],
    centres: Float[Tensor, "M 3"],
    count: int,
    seed: int,
    chunk: int,
) -> list[int]:
    """First one frame of each run, the farthest first, then the others at random.

    See `one_of_each_run` and `farthest_first`, which the paper uses one upon the other. Of the
    former no more than `count` are put in order, as ordering all of them takes long.
    """
    kept, rest = one_of_each_run(frames, seed, chunk)
    return farthest_first(sorted(kept), chosen, centres, count) + rest


@dataclass(frozen=True)
class Asked:
    """What is asked for: `count` of the `frames` in view, beside those `chosen` already."""

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


# Ways of table 1's baselines, which look at no camera: the first frame alone, it and others at
# random, the window of the newest ones.
FIRST = ("first", "first_and_random")
WITHOUT_VIEWS = ("random", "recent", *FIRST)
# In which order to take frames that are in view; what is missing then is drawn from all others.
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
        in_view: which frames look at what any target frame will show.
        centres: where their cameras stand.
        chosen: frames that are given anyway.
        count: how many to choose beside those.
        choose: random takes any frames, whether in view or not; random_in_view those in view first;
            non_adjacent of these one of each run of consecutive frames first; far of these the ones
            first that are farthest from each other. recent takes the newest of all; first none
            beside those chosen, first_and_random any.
        seed: of all that is random.

    Returns:
        The numbers of the frames in the order in which they were chosen, and why there are no more.

    Raises:
        ValueError: an unknown way to choose.
    """
    if choose not in CONTEXT_CHOICES:
        raise ValueError(f"choose is one of {', '.join(CONTEXT_CHOICES)}, met {choose!r}")
    if choose == "first":
        return [], "the first frame alone"
    known, looking = set(chosen), in_view.tolist()
    others = [frame for frame in range(len(looking)) if frame not in known]
    seen = [frame for frame in others if looking[frame]]
    order = CONTEXT_CHOICES[choose](Asked(seen, chosen, centres, count, seed))
    taken, known = order[:count], set(order)
    left = [frame for frame in others if frame not in known]
    filled = shuffled(left, seed, 1)[: count - len(taken)]
    if len(taken) + len(filled) < count:
        return taken + filled, "every frame is given"
    if choose in WITHOUT_VIEWS or not filled:
        return taken + filled, "K reached"
    return taken + filled, f"K reached, {len(filled)} at random because {len(taken)} are in view"
