"""Recordings of a few pixels, and how to prepare and encode them."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open

from anchorweave.recordings.nerfstudio import write_recording
from anchorweave.video import read_video
from tests.alike import alike, alike_pictures
from tests.rooms import look, view_room

# Stretches of 7 frames, 5 of them target; the smallest that all parts take.
PREPARE = ["frames=5", "size=[32,64]", "retrieval.chunk=2", "clips_per_recording=null"]


def write_room(path, count=14, offset=0.0, caption="a room"):
    """A walk of `count` frames through the room: two clips where there are 14."""
    yaws = torch.linspace(-0.4, 0.4, count)
    positions = [[0.05 * i - 0.5 + offset, 0.0, -1.0] for i in range(count)]
    write_recording(view_room(look(positions, yaws, size=(32, 64), focal=40.0)), path)
    if caption is not None:
        (path / "caption.txt").write_text(caption)
    return path


def contents(root):
    """What lies below a folder: path -> hash. Without prepare.yaml, which names the folder."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != "prepare.yaml"
    }


def assert_made_alike(root, other):
    """Both folders were made by the same words: the same files, numbers in them but for rounding.

    A level of 8 bits that was rounded the other way spreads in a video, by less than a level.
    """
    left, right = contents(root), contents(other)
    assert left.keys() == right.keys()
    for name in (name for name in left if left[name] != right[name]):
        suffix, one, two = Path(name).suffix, root / name, other / name
        if suffix == ".mp4":
            assert (read_video(one) - read_video(two)).abs().mean() < 1 / 255, name
        elif suffix == ".npz":
            _assert_tensors_alike(
                name, *({k: _tensor(v) for k, v in np.load(f).items()} for f in (one, two))
            )
        elif suffix == ".safetensors":
            said, tensors = zip(*map(_read_safetensors, (one, two)), strict=True)
            assert said[0] == said[1], name
            _assert_tensors_alike(name, *tensors)
        else:
            raise AssertionError(f"{name} differs")


def _tensor(array):
    # Packed masks and names are compared byte by byte.
    return torch.from_numpy(array if array.dtype.kind in "fiub" else array.view(np.uint8))


def _read_safetensors(path):
    with safe_open(path, "pt") as file:
        return file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _assert_tensors_alike(name, left, right):
    assert left.keys() == right.keys(), name
    for key in left:
        same = alike if left[key].is_floating_point() else alike_pictures
        assert same(left[key], right[key]), f"{name}: {key}"


def run(*command):
    """A Python process of its own, with one thread: sums of floats depend on their number."""
    root = Path(__file__).parents[2]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    words = [sys.executable, *map(str, command)]
    return subprocess.run(words, cwd=root, env=env, capture_output=True, text=True)


# Two processes on one machine, as `run` takes them; the module's name and its words follow.
TWO = ("-m", "training.engine.processes", "2")
