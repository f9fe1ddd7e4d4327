"""What an evaluation asks for, by name.

    partial_revisit  a clip between remembered frames (AnchorWeave, section 4.1)
    long_gap         a clip of a place that was last seen long before
    closed_loop      a path that comes back to where it began (Spatia)
    rotate_away      a turn on the spot, and back (Context-as-Memory, history comparison)
    reversed_path    a way out, and exactly back (SPMem, view recall)
    long_horizon     closed loops of more and more segments (Spatia, table 6)

The first two hold back a clip of the recording and generate it at once; the others roll out a path
segment by segment, from memories of what they generated. configs/evaluation/protocols/ has a file
for each.
"""

from __future__ import annotations

from typing import Literal

Protocol = Literal[
    "partial_revisit", "long_gap", "closed_loop", "rotate_away", "reversed_path", "long_horizon"
]
HELD_BACK = ("partial_revisit", "long_gap")
# The recording's own cameras, there and back.
RECORDED_PATH = "there_and_back(recorded)"
# Without these a result would not be what its name says.
PATHS = {"rotate_away": "there_and_back(pan", "reversed_path": "there_and_back("}


def rolls_out(protocol: str) -> bool:
    """Whether a path is rolled out in segments; else a clip of the recording is held back."""
    return protocol not in HELD_BACK


def check_protocol(protocol: str, split: str, trajectory: str) -> None:
    """Refuse to call by a protocol's name what is another.

    Args:
        protocol: the name.
        split: kind of the split, which a clip is held back by.
        trajectory: the path that is rolled out.

    Raises:
        ValueError: a split or a path that the protocol does not go with.
    """
    if not rolls_out(protocol):
        if (protocol == "long_gap") != (split == "long_gap"):
            raise ValueError(
                f"protocol={protocol} does not go with split.kind={split}; "
                "long_gap goes with long_gap, partial_revisit with the others"
            )
    elif not trajectory.replace(" ", "").startswith(path := PATHS.get(protocol, "")):
        raise ValueError(
            f"protocol={protocol} takes a path that begins with {path}, got "
            f"rollout.trajectory={trajectory}"
        )
