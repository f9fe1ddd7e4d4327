"""Recordings of a few pixels, and how to prepare and encode them."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import torch

from anchorweave.recordings.nerfstudio import write_recording
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


def run(*command):
    """A Python process of its own, with one thread: sums of floats depend on their number."""
    root = Path(__file__).parents[2]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    words = [sys.executable, *map(str, command)]
    return subprocess.run(words, cwd=root, env=env, capture_output=True, text=True)


# Two processes on one machine, as `run` takes them; the module's name and its words follow.
TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m")
