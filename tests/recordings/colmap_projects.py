"""COLMAP projects as a test needs them, text and binary, written from cameras."""

import struct

import torch

from anchorweave.geometry.cameras import Cameras, inverse_rigid
from anchorweave.images import write_frame
from anchorweave.recordings.colmap_model import MODELS


def write_project(folder, clip, model="PINHOLE", params=None, suffix="bin", points=None):
    """A project of `clip`'s frames, whose frame i sees all `points` [P, 3]."""
    (folder / "images").mkdir(parents=True)
    for i, frame in enumerate(clip.frames):
        write_frame(frame, folder / "images" / f"{i:03d}.png")
    names = [f"{i:03d}.png" for i in range(len(clip))]
    return write_model(folder / "sparse" / "0", clip.cameras, names, model, params, suffix, points)


def write_model(folder, cameras: Cameras, names, model, params, suffix, points=None):
    """The model's three files; `params` default to the pinhole of the first camera."""
    folder.mkdir(parents=True)
    (height, width), K = cameras.size, cameras.K[0]
    if params is None:
        params = [K[0, 0].item(), K[1, 1].item(), K[0, 2].item(), K[1, 2].item()]
    points = torch.zeros(0, 3) if points is None else points
    poses = [_pose(c2w) for c2w in cameras.recorded_c2w]
    write = _binary if suffix == "bin" else _text
    for name, stored in write(model, params, width, height, names, poses, points).items():
        (folder / f"{name}.{suffix}").write_bytes(stored)
    return folder.parent.parent


def _pose(c2w):
    w2c = inverse_rigid(c2w)
    R = w2c[:3, :3]
    # Valid while the turn is less than half of one, which cameras of a walk are.
    w = 0.5 * (1 + R.trace()).sqrt()
    xyz = torch.stack([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]]) / (4 * w)
    return [w.item(), *xyz.tolist(), *w2c[:3, 3].tolist()]


def _text(model, params, width, height, names, poses, points):
    words = " ".join(map(repr, params))
    images = []
    for number, (name, pose) in enumerate(zip(names, poses, strict=True), 1):
        images.append(f"{number} {' '.join(map(repr, pose))} 1 {name}")
        images.append(" ".join(f"1.5 2.5 {p}" for p in range(len(points))) + " 3.5 4.5 -1")
    listed = [
        f"{p} {' '.join(map(repr, at.tolist()))} 9 9 9 0.5 1 0" for p, at in enumerate(points)
    ]
    return {
        "cameras": f"# a remark\n1 {model} {width} {height} {words}\n".encode(),
        "images": ("# a remark\n" + "\n".join(images) + "\n").encode(),
        "points3D": "\n".join(listed).encode(),
    }


def _binary(model, params, width, height, names, poses, points):
    kind = next(number for number, name, _ in MODELS if name == model)
    images = struct.pack("<Q", len(names))
    for number, (name, pose) in enumerate(zip(names, poses, strict=True), 1):
        images += struct.pack("<I7dI", number, *pose, 1) + name.encode() + b"\0"
        images += struct.pack("<Q", len(points) + 1)
        images += b"".join(struct.pack("<ddq", 1.5, 2.5, p) for p in range(len(points)))
        images += struct.pack("<ddq", 3.5, 4.5, -1)
    listed = struct.pack("<Q", len(points))
    for p, at in enumerate(points):
        listed += struct.pack("<Q3d3BdQ", p, *at.tolist(), 9, 9, 9, 0.5, 1)
        listed += struct.pack("<II", 1, 0)
    cameras = struct.pack("<QiiQQ", 1, 1, kind, width, height)
    return {
        "cameras": cameras + struct.pack(f"<{len(params)}d", *params),
        "images": images,
        "points3D": listed,
    }
