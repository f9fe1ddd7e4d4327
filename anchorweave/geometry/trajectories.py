"""Camera paths from text: presets, the paper's keyboard commands, and there-and-back.

    static                                       stays in place
    pan(degrees=60)                              turns to the right (negative: left) on the spot
    dolly(distance=0.5)                          moves forward (negative: backward)
    orbit(degrees=45, radius=1.0)                circles to the right around a point ahead
    spiral(turns=2, radius=0.2, distance=0, focus=1.0)  widening circles, looking at a point ahead
    move_left:8, orient_up:8, move_backward:8    keyboard commands with a number of steps each
    there_and_back(pan(degrees=60))              any of these, forth and back along the same poses

Parameters are optional. Lengths are in scene units, so one path fits a scene of any scale. A
command acts along the camera's current axes.
"""

from __future__ import annotations

import difflib
import inspect
import math
import re
from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from anchorweave.geometry.cameras import Cameras

# One keyboard step, in scene units and degrees; not given in the paper.
MOVE_STEP = 0.03
TURN_STEP = 2.0

# Effect of one step: a translation in units of MOVE_STEP, an axis of rotation by TURN_STEP.
WORDS = {
    "move_left": ((-1.0, 0.0, 0.0), None),
    "move_right": ((1.0, 0.0, 0.0), None),
    "move_up": ((0.0, -1.0, 0.0), None),
    "move_down": ((0.0, 1.0, 0.0), None),
    "move_forward": ((0.0, 0.0, 1.0), None),
    "move_backward": ((0.0, 0.0, -1.0), None),
    "orient_left": (None, (0.0, -1.0, 0.0)),
    "orient_right": (None, (0.0, 1.0, 0.0)),
    "orient_up": (None, (1.0, 0.0, 0.0)),
    "orient_down": (None, (-1.0, 0.0, 0.0)),
    "roll_left": (None, (0.0, 0.0, -1.0)),
    "roll_right": (None, (0.0, 0.0, 1.0)),
}


def walked_from(start: Cameras, path: Cameras, unit: float) -> Cameras:
    """A camera path transplanted to begin at `start`.

    Args:
        start: one camera, c2w [4, 4].
        path: [n]; only the poses relative to the first one are used.
        unit: length of one path unit, in the unit of `start`.

    Returns:
        Cameras [n] with the intrinsics and size of `start`; the first one has its pose.
    """
    path2start = path.relative_to(path[0]).to(start.c2w)
    path2start[:, :3, 3] *= unit
    return replace(start, c2w=start.c2w @ path2start, K=start.K.expand(len(path2start), 3, 3))


def trajectory(
    spec: str,
    start: Cameras,
    frames: int,
    unit: float,
    *,
    move_step: float = MOVE_STEP,
    turn_step: float = TURN_STEP,
) -> Cameras:
    """The cameras of a path that begins exactly at `start`.

    Args:
        spec: the path, as in this module's docstring.
        start: one camera, c2w [4, 4].
        frames: number of cameras, >= 1. Keyboard commands whose steps do not total `frames - 1` are
            resampled evenly in time (`Cameras.at`); there_and_back with an even number of frames
            shows its far end twice.
        unit: length of one scene unit in the unit of `start`, > 0; for instance the median depth of
            the first frame.
        move_step: translation per step of a command, in scene units; not given in the paper.
        turn_step: rotation per step of a command, in degrees; not given in the paper.

    Returns:
        Cameras [frames] with the intrinsics and size of `start`.

    Raises:
        ValueError: an unknown name, parameter or number, or arguments out of range.

    Source: the paper's free-form trajectories by keyboard commands (8 steps per command).
    """
    if start.c2w.ndim != 2:
        raise ValueError(
            f"a trajectory starts at one camera [4, 4], got c2w {list(start.c2w.shape)}; "
            "pick one, for instance cameras[0]"
        )
    if frames < 1:
        raise ValueError(f"a trajectory needs at least 1 frame, got {frames}")
    for name, value in (("unit", unit), ("move_step", move_step), ("turn_step", turn_step)):
        if not 0 < value < math.inf:
            raise ValueError(f"{name} of a trajectory must be positive and finite, got {value}")
    target2start = _path(spec, frames, move_step, turn_step)
    target2start[:, :3, 3] *= unit
    # In float64, so that long float32 paths stay rigid and frame 0 is bit-exact.
    c2w = (start.c2w.double() @ target2start.to(start.c2w.device)).to(start.c2w)
    return replace(start, c2w=c2w, K=start.K.expand(frames, 3, 3).clone())


def _path(spec: str, frames: int, move_step: float, turn_step: float) -> Tensor:
    """target2start [frames, 4, 4] in scene units, float64; the first is the identity."""
    call = re.fullmatch(r"(\w+)(?:\((.*)\))?", spec.strip())
    if call is None:
        return _words(spec, frames, move_step, turn_step)
    name, inside = call.groups()
    if name == "there_and_back":
        if not inside:
            raise ValueError(
                f"trajectory {spec!r} has no path inside; write there_and_back(pan(degrees=60))"
            )
        out = _path(inside, (frames + 1) // 2, move_step, turn_step)
        step = torch.arange(frames)
        # Indexed, not computed twice: the way back uses exactly the same poses.
        return out[torch.minimum(step, frames - 1 - step)]
    if name not in PRESETS:
        if name in WORDS:
            raise ValueError(f"trajectory command {name!r} needs a number of steps; write {name}:8")
        raise ValueError(_unknown("trajectory", name, [*PRESETS, "there_and_back", *WORDS]))
    return PRESETS[name](
        torch.linspace(0, 1, frames, dtype=torch.float64), **_parameters(name, inside)
    )


def _parameters(preset: str, text: str | None) -> dict[str, float]:
    names = [name for name in inspect.signature(PRESETS[preset]).parameters if name != "time"]
    values: dict[str, float] = {}
    for part in (text or "").split(",") if text else []:
        name, equals, number = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise ValueError(
                f"{preset}({text}): got {part.strip()!r}, expected name=number with a name of "
                f"{', '.join(names) or 'none (it takes no parameters)'}"
            )
        if name not in names:
            raise ValueError(_unknown(f"parameter of {preset}", name, names))
        if name in values:
            raise ValueError(f"{preset}({text}): {name} is given twice")
        values[name] = _number(number, f"{preset}({text})")
    return values


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{where}: got {text!r} where a finite number belongs")
    return value


def _unknown(what: str, name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return f"unknown {what} {name!r}{hint} Known: {', '.join(known) or 'none'}"


def _static(time: Tensor) -> Tensor:
    return torch.eye(4, dtype=time.dtype).repeat(len(time), 1, 1)


def _pan(time: Tensor, degrees: float = 60.0) -> Tensor:
    return _turn((0.0, 1.0, 0.0), torch.deg2rad(degrees * time))


def _dolly(time: Tensor, distance: float = 0.5) -> Tensor:
    path = _static(time)
    path[:, 2, 3] = distance * time
    return path


def _orbit(time: Tensor, degrees: float = 45.0, radius: float = 1.0) -> Tensor:
    _require(radius > 0, f"orbit: radius must be positive, got {radius:g}")
    # Moving to the right around the point means turning left: a negative rotation about y (down).
    path = _turn((0.0, 1.0, 0.0), torch.deg2rad(-degrees * time))
    path[:, :3, 3] = -radius * path[:, :3, 2]
    path[:, 2, 3] += radius
    return path


def _spiral(
    time: Tensor,
    turns: float = 2.0,
    radius: float = 0.2,
    distance: float = 0.0,
    focus: float = 1.0,
) -> Tensor:
    _require(radius > 0, f"spiral: radius must be positive, got {radius:g}")
    _require(
        focus > max(distance, 0.0),
        f"spiral: the point looked at (focus {focus:g}) must lie ahead of the whole path "
        f"(distance {distance:g})",
    )
    angle = 2 * math.pi * turns * time
    centre = torch.stack(
        [radius * time * angle.cos(), radius * time * angle.sin(), distance * time], dim=-1
    )
    forward = torch.nn.functional.normalize(centre.new_tensor([0.0, 0.0, focus]) - centre, dim=-1)
    down = centre.new_tensor([0.0, 1.0, 0.0]).expand_as(centre)
    right = torch.nn.functional.normalize(torch.linalg.cross(down, forward), dim=-1)
    path = _static(time)
    path[:, :3, :3] = torch.stack([right, torch.linalg.cross(forward, right), forward], dim=-1)
    path[:, :3, 3] = centre
    return path


PRESETS: dict[str, Callable[..., Tensor]] = {
    "static": _static,
    "pan": _pan,
    "dolly": _dolly,
    "orbit": _orbit,
    "spiral": _spiral,
}


def _words(spec: str, frames: int, move_step: float, turn_step: float) -> Tensor:
    steps = []
    for part in spec.split(","):
        name, _, count = (piece.strip() for piece in part.partition(":"))
        if name not in WORDS:
            raise ValueError(_unknown(f"word in trajectory {spec!r}:", name, [*WORDS, *PRESETS]))
        if not re.fullmatch(r"[1-9]\d*", count):
            raise ValueError(
                f"trajectory command {name!r} needs a positive number of steps, got {count!r}; "
                f"write {name}:8"
            )
        steps += [_word_step(name, move_step, turn_step)] * int(count)
    path = [torch.eye(4, dtype=torch.float64)]
    for step in steps:
        path.append(path[-1] @ step)
    poses = torch.stack(path)
    if len(steps) == frames - 1:
        return poses
    walked = Cameras(poses, torch.eye(3, dtype=poses.dtype).expand(len(poses), 3, 3), (1, 1))
    return walked.at(torch.linspace(0, len(steps), frames, dtype=poses.dtype)).c2w


def _word_step(name: str, move_step: float, turn_step: float) -> Tensor:
    shift, axis = WORDS[name]
    if axis is not None:
        return _turn(axis, torch.tensor([math.radians(turn_step)], dtype=torch.float64))[0]
    step = torch.eye(4, dtype=torch.float64)
    step[:3, 3] = move_step * torch.tensor(shift, dtype=torch.float64)
    return step


def _turn(axis: tuple[float, float, float], angles: Float[Tensor, " S"]) -> Float[Tensor, "S 4 4"]:
    """Rotations about a unit axis by angles in radians (right-handed, Rodrigues' formula)."""
    x, y, z = axis
    cross = angles.new_tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    sine, versine = angles.sin()[:, None, None], (1 - angles.cos())[:, None, None]
    turn = torch.eye(4, dtype=angles.dtype).repeat(len(angles), 1, 1)
    turn[:, :3, :3] += sine * cross + versine * (cross @ cross)
    return turn


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
