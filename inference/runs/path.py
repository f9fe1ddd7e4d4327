"""The cameras of a rollout: a path in words, or a camera file."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from anchorweave.geometry.cameras import Cameras
from anchorweave.geometry.trajectories import PRESETS, trajectory, walked_from
from anchorweave.recordings import open_recording
from anchorweave.run_config import RunConfig


def planned_cameras(config: RunConfig, start: Cameras, unit: float) -> Cameras:
    """The cameras of the whole rollout, beginning at `start`: a path in words or a camera file.

    Lengths are in scene units of length `unit`, or with `rollout.unit=recording` in the recording's
    own unit.
    """
    count = camera_count(config)
    if config.rollout.unit == "recording":
        unit = 1.0
    spec = config.rollout.trajectory
    if not _is_path(spec):
        return trajectory(spec, start, count, unit)
    path = open_recording(spec, config.missing).cameras
    return walked_from(start, path.at(torch.linspace(0, len(path) - 1, count)), unit)


def camera_count(config: RunConfig) -> int:
    """Number of cameras of a rollout: consecutive segments share one."""
    return config.rollout.segments * (config.frames - 1) + 1


def _is_path(text: str) -> bool:
    preset = re.fullmatch(r"\s*(\w+)\s*(\(.*\))?\s*", text)
    if preset and preset[1] in PRESETS:
        # Even if a folder is called like it.
        return False
    try:
        return Path(text).exists()
    except OSError:
        # Long paths in words exceed the maximum length of file names.
        return False
