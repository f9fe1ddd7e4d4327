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

# The options of each are read under its name, when it is requested.
NETWORKS = {"depth_anything": "DepthAnything", "depth_pro": "DepthPro", "zoe": "Zoe"}


def _network(name: str, config: PerceptionConfig) -> Perception:
    # Importing transformers takes seconds, so it happens only when a network is requested.
    module = import_module(f"anchorweave.perception.{name}")
    return getattr(module, NETWORKS[name])(getattr(config, name))


# Name -> factory that takes the options of all plug-ins.
PERCEPTIONS = {
    "recorded": lambda config: Recorded(),
    "none": lambda config: NoDepth(),
    "plane_sweep": lambda config: PlaneSweep(config.plane_sweep),
    **{name: partial(_network, name) for name in NETWORKS},
}
# Those that estimate depth for frames without any.
ESTIMATORS = tuple(name for name in PERCEPTIONS if name not in ("recorded", "none"))


@dataclass(frozen=True)
class PerceptionConfig:
    """How depth is obtained.

    Args:
        kind: the plug-in for frames of a recording; `none` leaves them without depth, for
            `posed_frames`.
        generated: the plug-in for generated frames, which have no depth.
        moving: how moving objects are detected, in addition to a recording's masks: `none`;
            `geometry`, by depth that contradicts other views; `sam2`, by text prompts. They are
            kept out of memory.
        plane_sweep: options of the plane sweep.
        depth_anything: options of Depth Anything, relative or metric depending on its weights.
        depth_pro: options of Depth Pro.
        zoe: options of ZoeDepth.
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
    """Rejects a recording without depth if depth is to be read from the recording.

    Args:
        config: how depth is obtained.
        has_depth: whether the recording has depth.
        where: the recording, for error messages.

    Raises:
        ValueError: it has none; the message lists estimators.
    """
    if config.kind == "recorded" and not has_depth:
        raise ValueError(
            f"{where}: holds no depth; perception=plane_sweep estimates it from several posed "
            f"frames, {', '.join(f'perception={name}' for name in NETWORKS)} from single ones"
        )


def make_perception(kind: str, config: PerceptionConfig) -> Perception:
    """Creates the plug-in of that name.

    Raises:
        FileNotFoundError: the network's weights are missing; the message says where to get them.
        ValueError: an unknown name; the message lists the known ones.
    """
    if kind not in PERCEPTIONS:
        raise ValueError(f"unknown perception {kind!r}; known: {', '.join(PERCEPTIONS)}")
    perception = PERCEPTIONS[kind](config)
    if config.moving == "geometry":
        return KeepsStill(perception, config.geometry)
    if config.moving == "sam2":
        # Importing transformers takes seconds, so it is imported on first use.
        module = import_module("anchorweave.perception.sam2")
        return module.KeepsOut(perception, config.sam2)
    return perception
