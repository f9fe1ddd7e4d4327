"""Converts keyframes to video cameras, and text commands and views to keyframes.

The duration of a path follows from its motion: the larger of its length, in steps of 0.03 scene
units, and its rotation, in steps of 2 degrees, which are the keyboard commands' steps. A segment of
T frames has T - 1 steps; the number of segments is rounded to the nearest integer, at constant
speed.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.geometry.cameras import Cameras, rotation_angle
from anchorweave.geometry.trajectories import MOVE_STEP, TURN_STEP, trajectory, walked_from
from inference.explorer.splines import (
    degrees_between,
    places_at,
    refuse_half_turns,
    rotations_at,
)
from inference.explorer.state import Drawn, Pose, refuse_keyframe

# Every so many-th camera of a text path becomes a keyframe, and more if it rotates by more than
# this many degrees in between.
KEYFRAME_STEPS, KEYFRAME_TURN = 4, 90.0
# A view that moved by less since the last keyframe counts as the same.
SAME_STEP = 1e-3
# In walk mode, a keyframe is added every so many steps.
WALK_STEPS = 3.0
WORDS_ALONE = re.compile(r"\s*\w+\s*:\s*\d+\s*(,\s*\w+\s*:\s*\d+\s*)*")


def pose_of(c2w: Float[Tensor, "4 4"]) -> Pose:
    """A transform as a plain value."""
    return tuple(tuple(row) for row in c2w.tolist())


def keyframe_cameras(drawn: Drawn, start: Cameras) -> Cameras:
    """The start camera of a path and its keyframes [1 + n].

    Args:
        drawn: the path.
        start: the camera of the remembered frame, c2w [4, 4].
    """
    poses = [start.c2w, *(start.c2w.new_tensor(pose) for pose in drawn.keyframes)]
    return replace(start, c2w=torch.stack(poses), K=start.K.expand(len(poses), 3, 3))


def steps_between(cameras: Cameras, unit: float) -> Float[Tensor, " n"]:
    """Number of keyboard steps from each camera to the next.

    Args:
        cameras: [1 + n].
        unit: length of one scene unit.
    """
    way = (cameras.centres[1:] - cameras.centres[:-1]).norm(dim=-1) / (MOVE_STEP * unit)
    rotations = cameras.c2w[:, :3, :3].double()
    turn = rotation_angle(rotations[:-1], rotations[1:]).to(way)
    return torch.maximum(way, turn / math.radians(TURN_STEP))


def segment_count(drawn: Drawn, start: Cameras, frames: int, unit: float) -> int:
    """Number of segments of `frames` frames in a path; 0 without keyframes.

    Args:
        drawn: the path.
        start: its start camera.
        frames: length T of a segment.
        unit: length of one scene unit.
    """
    if not drawn.keyframes:
        return 0
    steps = float(steps_between(keyframe_cameras(drawn, start), unit).sum()) / drawn.speed
    return max(round(steps / (frames - 1)), 1)


def path_cameras(drawn: Drawn, start: Cameras, frames: int, unit: float) -> Cameras:
    """The cameras of a path [segments * (frames - 1) + 1]; the first is exactly `start`.

    Args:
        drawn: the path.
        start: its start camera.
        frames: length T of a segment.
        unit: length of one scene unit.

    Raises:
        ValueError: a path without keyframes, or one with an ambiguous half-turn rotation.
    """
    segments = segment_count(drawn, start, frames, unit)
    if not segments:
        raise ValueError("the path has no keyframes yet; add one from a view, or a text path")
    keys = keyframe_cameras(drawn, start)
    refuse_half_turns(keys.c2w[:, :3, :3])
    steps = steps_between(keys, unit)
    if float(steps.sum()) <= SAME_STEP:
        # Static for one segment.
        steps = torch.ones_like(steps)
    moved = torch.cat([torch.tensor([True]), steps > SAME_STEP])
    keys, steps = keys[moved], steps[steps > SAME_STEP]
    at = torch.cat([steps.new_zeros(1), steps.cumsum(0)])
    times = torch.linspace(0, 1, segments * (frames - 1) + 1) * at[-1]
    after = torch.searchsorted(at, times).clamp(1, len(at) - 1)
    within = (times - at[after - 1]) / (at[after] - at[after - 1])
    cameras = keys.at((after - 1 + within).clamp(0, len(keys) - 1))
    c2w = cameras.c2w.clone()
    if drawn.smooth and len(keys) > 2:
        c2w[:, :3, 3] = places_at(keys.centres, at, times)
        c2w[:, :3, :3] = rotations_at(keys.c2w[:, :3, :3], at, times)
    c2w[0], c2w[-1] = start.c2w, keys.c2w[-1]
    return replace(cameras, c2w=c2w)


def with_view(drawn: Drawn, view: Float[Tensor, "4 4"]) -> Drawn:
    """The path with one more keyframe."""
    return replace(drawn, keyframes=(*drawn.keyframes, pose_of(view)))


def with_keyframe(drawn: Drawn, number: int, view: Float[Tensor, "4 4"]) -> Drawn:
    """The path with keyframe `number` (0, 1, ...) moved.

    Raises:
        ValueError: no keyframe with this number.
    """
    refuse_keyframe(drawn, number)
    keyframes = list(drawn.keyframes)
    keyframes[number] = pose_of(view)
    return replace(drawn, keyframes=tuple(keyframes))


def without_keyframe(drawn: Drawn, number: int) -> Drawn:
    """The path without keyframe `number` (0, 1, ...).

    Raises:
        ValueError: no keyframe with this number.
    """
    refuse_keyframe(drawn, number)
    keyframes = (*drawn.keyframes[:number], *drawn.keyframes[number + 1 :])
    return replace(drawn, keyframes=keyframes)


def walked(
    drawn: Drawn, start: Cameras, view: Float[Tensor, "4 4"], unit: float, steps: float = WALK_STEPS
) -> Drawn:
    """The path with one more keyframe if the view has moved far enough from its end.

    Args:
        drawn: the path.
        start: its start camera.
        view: the current view.
        unit: length of one scene unit.
        steps: minimum distance in keyboard steps.
    """
    more = with_view(drawn, view)
    moved = steps_between(keyframe_cameras(more, start), unit)[-1]
    return more if moved >= steps else drawn


def with_words(drawn: Drawn, spec: str, start: Cameras, frames: int, unit: float) -> Drawn:
    """The path extended by a preset or keyboard commands.

    Args:
        drawn: the path.
        spec: see `geometry/trajectories.py`; a preset takes one segment, a command its own steps.
        start: its start camera.
        frames: length T of a segment.
        unit: length of one scene unit.

    Raises:
        ValueError: neither a preset nor commands.
    """
    end = keyframe_cameras(drawn, start)[-1]
    count = frames - 1
    if WORDS_ALONE.fullmatch(spec):
        count = sum(int(steps) for steps in re.findall(r":\s*(\d+)", spec))
    if count > 100_000:
        raise ValueError(f"{count} steps are too many for one path; draw it in parts")
    return _going_on(drawn, trajectory(spec, end, count + 1, unit))


def with_cameras(drawn: Drawn, cameras: Cameras, start: Cameras, unit: float) -> Drawn:
    """The path extended by the cameras of a file, as a rollout would follow them.

    Args:
        drawn: the path.
        cameras: cameras of the file; only their relative poses matter.
        start: its start camera.
        unit: length of one unit of the file.
    """
    end = keyframe_cameras(drawn, start)[-1]
    return _going_on(drawn, walked_from(end, cameras, unit))


def rest_of(drawn: Drawn, start: Cameras, frames: int, unit: float) -> Drawn:
    """The rest of a path after its first segment; it starts at the newest frame.

    Args:
        drawn: the path.
        start: its start camera.
        frames: length T of a segment.
        unit: length of one scene unit.
    """
    segments = segment_count(drawn, start, frames, unit)
    if segments <= 1:
        return Drawn(speed=drawn.speed, smooth=drawn.smooth)
    reached = steps_between(keyframe_cameras(drawn, start), unit).cumsum(0)
    # A segment that ends at a keyframe has reached it, up to rounding.
    left = reached > reached[-1] / segments * (1 + 1e-4)
    keyframes = tuple(
        key for key, ahead in zip(drawn.keyframes, left.tolist(), strict=True) if ahead
    )
    return replace(drawn, start=None, keyframes=keyframes, prompts=drawn.prompts[1:])


def _going_on(drawn: Drawn, cameras: Cameras) -> Drawn:
    last, taken, turned, rotations = len(cameras) - 1, [0], 0.0, cameras.c2w[:, :3, :3]
    for i, turn in enumerate(degrees_between(rotations).tolist()):
        # Whether i + 1 can be reached without a keyframe at i.
        if i > taken[-1] and (i - taken[-1] >= KEYFRAME_STEPS or turned + turn > KEYFRAME_TURN):
            taken.append(i)
            turned = 0.0
        turned += turn
    taken = [*taken[1:], last]
    poses = tuple(pose_of(cameras.c2w[i]) for i in taken)
    return replace(drawn, keyframes=(*drawn.keyframes, *poses))
