"""Memory systems: what is stored of the past, and what is retrieved for the networks."""

from __future__ import annotations

from anchorweave.memory.bank import Bank
from anchorweave.memory.base import Memory
from anchorweave.memory.config import MemoryConfig
from anchorweave.memory.global_cloud import GlobalCloud, GlobalCloudConfig
from anchorweave.memory.local_clouds import LocalClouds
from anchorweave.memory.map_and_keyframes import MapAndKeyframes, MapAndKeyframesConfig
from anchorweave.memory.posed_frames import PosedFrames, PosedFramesConfig
from anchorweave.memory.registry import MEMORIES
from anchorweave.rendering.anchor_video import RenderConfig
from anchorweave.retrieval import RetrievalConfig

MEMORIES |= {
    "local_clouds": LocalClouds,
    "global_cloud": GlobalCloud,
    "map_and_keyframes": MapAndKeyframes,
    "posed_frames": PosedFrames,
}

__all__ = [
    "MEMORIES",
    "Bank",
    "GlobalCloud",
    "GlobalCloudConfig",
    "LocalClouds",
    "MapAndKeyframes",
    "MapAndKeyframesConfig",
    "Memory",
    "MemoryConfig",
    "PosedFrames",
    "PosedFramesConfig",
    "open_memory",
]


def open_memory(
    bank: Bank, config: MemoryConfig, retrieval: RetrievalConfig, rendering: RenderConfig
) -> Memory:
    """The memory system that `config` names, over the frames that `bank` holds."""
    return MEMORIES[config.kind](bank, config, retrieval, rendering)
