"""Perception plug-ins: video with known cameras in, a clip with depth out."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Literal

from anchorweave.perception.base import DepthNotFoundError, Perception
from anchorweave.perception.depth_network import NetworkConfig
from anchorweave.perception.moving import GeometryConfig, KeepsStill
from anchorweave.perception.moving_words import WordsConfig
from anchorweave.perception.plane_sweep import PlaneSweep, PlaneSweepConfig
from anchorweave.perception.recorded import NoDepth, Recorded

__all__ = [
    "DepthNotFoundError",
    "GeometryConfig",
    "NetworkConfig",
    "Perception",
    "PerceptionConfig",
    "PlaneSweepConfig",
    "WordsConfig",
    "check_depth",
    "make_perception",
]

# Each option of one of these is read when its name is requested.
NETWORKS = {"depth_anything": "DepthAnything", "depth_pro": "DepthPro", "zoe": "Zoe"}


def _network(name: str, config: PerceptionConfig) -> Perception:
    # Importing transformers takes seconds, so it is done only for networks.
    module = import_module(f"anchorweave.perception.{name}")
    return getattr(module, NETWORKS[name])(getattr(config, name))


# Name -> what makes the plug-in from the options of all.
PERCEPTIONS = {
    "recorded": lambda config: Recorded(),
    "none": lambda config: NoDepth(),
    "plane_sweep": lambda config: PlaneSweep(config.plane_sweep),
    **{name: partial(_network, name) for name in NETWORKS},
}
# Those that give depth to frames which bring none of their own.
ESTIMATORS = tuple(name for name in PERCEPTIONS if name not in ("recorded", "none"))


@dataclass(frozen=True)
class PerceptionConfig:
    """How depth is obtained.

    Args:
        kind: for the frames of a recording; `none` leaves them without, for `posed_frames`.
        generated: for generated frames, which bring none of their own.
        moving: how moving things are found, in addition to a recording's masks: `none`;
            `geometry`, by depth that contradicts other views; `sam2`, by words for them. They are
            kept out of memory.
        plane_sweep: options of the plane sweep.
        depth_anything: of Depth Anything, relative or metric, as its weights are.
        depth_pro: of Depth Pro.
        zoe: of ZoeDepth.
        geometry: options of `moving=geometry`.
        sam2: options of `moving=sam2`.
    """

    kind: Literal[tuple(PERCEPTIONS)] = "recorded"
    generated: Literal[ESTIMATORS] = "plane_sweep"
    moving: Literal["none", "geometry", "sam2"] = "none"
    plane_sweep: PlaneSweepConfig = field(default_factory=PlaneSweepConfig)
    depth_anything: NetworkConfig = field(
        default_factory=lambda: NetworkConfig("pretrained/Depth-Anything-V2-Small-hf")
    )
    depth_pro: NetworkConfig = field(
        default_factory=lambda: NetworkConfig("pretrained/DepthPro-hf")
    )
    zoe: NetworkConfig = field(
        default_factory=lambda: NetworkConfig("pretrained/zoedepth-nyu-kitti")
    )
    geometry: GeometryConfig = field(default_factory=GeometryConfig)
    sam2: WordsConfig = field(default_factory=WordsConfig)


def check_depth(config: PerceptionConfig, has_depth: bool, where: object) -> None:
    """Refuse a recording without depth where depth is to be the recording's own.

    Args:
        config: how depth is obtained.
        has_depth: whether the recording holds any.
        where: the recording, for the message.

    Raises:
        ValueError: it holds none, and what to do.
    """
    if config.kind == "recorded" and not has_depth:
        raise ValueError(
            f"{where}: holds no depth; perception=plane_sweep estimates it from the cameras of "
            f"several frames, {', '.join(f'perception={name}' for name in NETWORKS)} of each alone"
        )


def make_perception(kind: str, config: PerceptionConfig) -> Perception:
    """The plug-in of that name.

    Raises:
        FileNotFoundError: a network without its weights, with where to get them.
        ValueError: an unknown name, with the known ones.
    """
    if kind not in PERCEPTIONS:
        raise ValueError(f"unknown perception {kind!r}; known: {', '.join(PERCEPTIONS)}")
    perception = PERCEPTIONS[kind](config)
    if config.moving == "geometry":
        return KeepsStill(perception, config.geometry)
    if config.moving == "sam2":
        # Importing transformers takes seconds, so it is done on use.
        module = import_module("anchorweave.perception.sam2")
        return module.KeepsOut(perception, config.sam2)
    return perception
