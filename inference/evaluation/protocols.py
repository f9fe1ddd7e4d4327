"""The evaluation protocols.

    partial_revisit  a clip between remembered frames (AnchorWeave, section 4.1)
    long_gap         a clip of a place that was last seen long before
    closed_loop      a path that returns to where it began (Spatia)
    rotate_away      a rotation in place, and back (Context-as-Memory, history comparison)
    reversed_path    a way out, and exactly back (SPMem, view recall)
    long_horizon     closed loops of increasing length (Spatia, table 6)

The first two hold back a clip of the recording and generate it at once; the others roll out a path
segment by segment, remembering what they generated. configs/evaluation/protocols/ has a file for
each.
"""

from __future__ import annotations

from typing import Literal

Protocol = Literal[
    "partial_revisit", "long_gap", "closed_loop", "rotate_away", "reversed_path", "long_horizon"
]
HELD_BACK = ("partial_revisit", "long_gap")
# The recording's own cameras, there and back.
RECORDED_PATH = "there_and_back(recorded)"
# Required prefixes of the path, so that a result is what its name says.
PATHS = {"rotate_away": "there_and_back(pan", "reversed_path": "there_and_back("}


def rolls_out(protocol: str) -> bool:
    """Whether a path is rolled out in segments; else a clip of the recording is held back."""
    return protocol not in HELD_BACK


def check_protocol(protocol: str, split: str, trajectory: str) -> None:
    """Rejects settings that contradict a protocol's name.

    Args:
        protocol: the name.
        split: kind of the split by which a clip is held back.
        trajectory: the path that is rolled out.

    Raises:
        ValueError: a split or a path that does not fit the protocol.
    """
    if not rolls_out(protocol):
        if (protocol == "long_gap") != (split == "long_gap"):
            raise ValueError(
                f"protocol={protocol} does not fit split.kind={split}; "
                "long_gap requires long_gap, partial_revisit any other"
            )
    elif not trajectory.replace(" ", "").startswith(path := PATHS.get(protocol, "")):
        raise ValueError(
            f"protocol={protocol} needs a path that begins with {path}, got "
            f"rollout.trajectory={trajectory}"
        )
