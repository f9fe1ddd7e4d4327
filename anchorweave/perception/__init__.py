"""Perception plug-ins: video with known cameras in, a clip with depth out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from anchorweave.perception.base import DepthNotFoundError, Perception
from anchorweave.perception.plane_sweep import PlaneSweep, PlaneSweepConfig
from anchorweave.perception.recorded import Recorded

__all__ = [
    "DepthNotFoundError",
    "Perception",
    "PerceptionConfig",
    "PlaneSweepConfig",
    "check_depth",
    "make_perception",
]

# Name -> what makes the plug-in from the options of all.
PERCEPTIONS = {
    "recorded": lambda config: Recorded(),
    "plane_sweep": lambda config: PlaneSweep(config.plane_sweep),
}


@dataclass(frozen=True)
class PerceptionConfig:
    """Where depth comes from.

    Args:
        kind: for the frames of a recording.
        generated: for generated frames, which bring none of their own.
        plane_sweep: options of the plane sweep.
    """

    kind: Literal["recorded", "plane_sweep"] = "recorded"
    generated: Literal["plane_sweep"] = "plane_sweep"
    plane_sweep: PlaneSweepConfig = field(default_factory=PlaneSweepConfig)


def check_depth(config: PerceptionConfig, has_depth: bool, where: object) -> None:
    """Refuse a recording without depth where depth is to be the recording's own.

    Args:
        config: where depth comes from.
        has_depth: whether the recording holds any.
        where: the recording, for the message.

    Raises:
        ValueError: it holds none, and what to do.
    """
    if config.kind == "recorded" and not has_depth:
        raise ValueError(
            f"{where}: holds no depth; perception=plane_sweep estimates it from the cameras of "
            "several frames"
        )


def make_perception(kind: str, config: PerceptionConfig) -> Perception:
    """The plug-in of that name.

    Raises:
        ValueError: an unknown name, with the known ones.
    """
    if kind not in PERCEPTIONS:
        raise ValueError(f"unknown perception {kind!r}; known: {', '.join(PERCEPTIONS)}")
    return PERCEPTIONS[kind](config)
