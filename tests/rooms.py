"""A small analytic room for tests: exact depth and colour at any camera, in closed form."""

import torch

from anchorweave.clip import Clip
from anchorweave.geometry.cameras import Cameras, intrinsics
from anchorweave.geometry.projection import unproject

HALF_SIZE = torch.tensor([2.0, 1.5, 3.0])


def look(positions, yaws, size=(24, 32), focal=24.0) -> Cameras:
    """Cameras at `positions` [[x, y, z], ...] turned to the right by `yaws` (radians)."""
    c2w = torch.eye(4).repeat(len(positions), 1, 1)
    yaws = torch.as_tensor(yaws, dtype=torch.float32)
    c2w[:, 0, 0] = c2w[:, 2, 2] = yaws.cos()
    c2w[:, 0, 2], c2w[:, 2, 0] = yaws.sin(), -yaws.sin()
    c2w[:, :3, 3] = torch.as_tensor(positions, dtype=torch.float32)
    K = intrinsics(focal, focal, size[1] / 2, size[0] / 2).expand(len(c2w), 3, 3)
    return Cameras(c2w, K.clone(), size)


def view_room(cameras: Cameras, detail: float = 1.0) -> Clip:
    """What `cameras` see of the inside of a box with smoothly coloured walls.

    Args:
        cameras: inside the box.
        detail: how many times finer than a pattern of some metres the walls are coloured.
    """
    T, (H, W) = len(cameras), cameras.size
    rays = unproject(torch.ones(T, H, W), cameras) - cameras.centres[:, None, None]
    centres = cameras.centres[:, None, None]
    # A ray of depth 1 leaves the box where it first meets a wall ahead.
    distance = ((rays.sign() * HALF_SIZE - centres) / rays).nan_to_num(posinf=1e9)
    depth = distance.amin(dim=-1)
    points = centres + rays * depth[..., None]
    colours = 0.5 + 0.5 * torch.sin(detail * points * torch.tensor([1.7, 2.3, 1.1]))
    names = tuple(f"room {i}" for i in range(T))
    return Clip(colours.permute(0, 3, 1, 2).contiguous(), depth, cameras, names)


def walk(count: int, size=(24, 32)) -> Clip:
    """A walk through the room that turns from left to right."""
    steps = torch.linspace(-1, 1, count)
    positions = torch.stack([0.6 * steps, 0.1 * steps, -1.0 + 0.5 * steps], dim=-1)
    return view_room(look(positions, 0.5 * steps, size))
