"""Splits the frames of a recording into target (to generate) and history (in memory)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# The paper samples 70 frames and uses 49 of them as the target (section 4.1).
PAPER_WINDOW, PAPER_TARGET = 70, 49


@dataclass(frozen=True)
class SplitConfig:
    """How the target is held out.

    Args:
        kind: `partial_revisit`, the paper's protocol (section 4.1): the target frames are spread
            evenly over a window of consecutive frames and the rest of the window is the history, so
            the two interleave in time. `later`: the history comes first, the target is spread
            evenly over what follows. `long_gap`: the history comes first, the target is the end of
            the recording, and the gap between them, at least as long as the target, is unused.
        start: first frame of the recording to use.
        step: partial_revisit: stride between target frames, 2 or more, so that the target moves
            evenly. Of the frames in between, as many as in the paper (21 per 49 target frames),
            spread evenly, are the history. None = the paper's own protocol, in which some strides
            are twice as long as others.
        window: frames of the window (partial_revisit without `step`); None = 70 per 49 target
            frames.
        history: fraction of the recording that is history, in (0, 1) (later, long_gap).
    """

    kind: Literal["partial_revisit", "later", "long_gap"] = "partial_revisit"
    start: int = 0
    step: int | None = None
    window: int | None = None
    history: float = 2 / 3

    def __post_init__(self):
        if self.kind != "partial_revisit" or self.step is None:
            return
        if self.step < 2:
            raise ValueError(
                f"split.step={self.step}: must be 2 or more, to leave history between target frames"
            )
        if self.window is not None:
            raise ValueError(
                f"split.step={self.step} and split.window={self.window} both set the window "
                "length; give one of them"
            )


@dataclass(frozen=True)
class Split:
    """Frame indices of a recording in time order: target to generate, and history in memory."""

    target: tuple[int, ...]
    history: tuple[int, ...]


def split_frames(count: int, target: int, config: SplitConfig) -> Split:
    """Holds out `target` frames of a recording of `count` frames.

    Raises:
        ValueError: the recording is too short; the message says how many frames are needed.
    """
    if not 0 <= config.start < count:
        raise ValueError(f"split.start={config.start}, but the recording has {count} frames")
    if config.kind in ("later", "long_gap"):
        if not 0 < config.history < 1:
            raise ValueError(f"split.history={config.history} is not between 0 and 1")
        first = config.start + round((count - config.start) * config.history)
        history = tuple(range(config.start, first))
        if config.kind == "long_gap":
            return Split(_after_gap(first, count, target), history)
        return Split(_spread(first, count, target), history)
    window = window_length(target, config)
    end = config.start + window
    if window < target or end > count:
        raise ValueError(
            f"a window of {window} frames starting at frame {config.start}, for {target} target "
            f"frames, does not fit a recording of {count} frames; lower `frames`, set "
            "split.window, or record more"
        )
    if config.step is None:
        chosen = _spread(config.start, end, target)
        return Split(chosen, tuple(sorted(set(range(config.start, end)) - set(chosen))))
    chosen = tuple(range(config.start, end, config.step))
    between = sorted(set(range(config.start, end)) - set(chosen))
    remembered = round(target * (PAPER_WINDOW - PAPER_TARGET) / PAPER_TARGET)
    chosen_history = _spread(0, len(between), min(remembered, len(between))) if between else ()
    return Split(chosen, tuple(between[i] for i in chosen_history))


def window_length(target: int, config: SplitConfig) -> int:
    """The frames of the window over which the `target` frames of a partial revisit are spread."""
    if config.step is not None:
        return config.step * (target - 1) + 1
    return config.window or round(target * PAPER_WINDOW / PAPER_TARGET)


def _after_gap(start: int, end: int, target: int) -> tuple[int, ...]:
    """The last `target` frames of [start, end), preceded by a gap of at least as many."""
    gap = end - start - target
    if gap < target:
        raise ValueError(
            f"a gap of {max(gap, 0)} frames between the history, up to frame {start}, and the last "
            f"{target} of {end} frames is shorter than these; lower `frames` or split.history, or "
            "record more"
        )
    return tuple(range(end - target, end))


def _spread(start: int, end: int, target: int) -> tuple[int, ...]:
    """`target` distinct frames of [start, end), including the first and the last."""
    available = end - start
    if available < target:
        raise ValueError(
            f"{target} target frames do not fit the {available} frames [{start}, {end}); "
            "lower `frames` or split.history, or record more"
        )
    if target == 1:
        return (start,)
    return tuple(start + round(i * (available - 1) / (target - 1)) for i in range(target))
