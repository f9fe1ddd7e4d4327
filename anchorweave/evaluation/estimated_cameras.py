"""Cameras of a video, estimated from its frames by structure from motion (COLMAP, by pycolmap).

Features are SIFT, intrinsics are known and stay as they are. Poses need surfaces that the video
shows the same way from several sides, and a camera that moves: where frames contradict each other,
or the camera stands still or only turns, few or no frames can be registered, and that is a result
(`EstimatedCameras.failed`), not a gap. How far the camera turns between neighbouring frames is
estimated apart, from the two frames alone, which a still or turning camera does not hinder: a
frozen video turns by nothing.

Runs in one thread with a fixed seed: the same frames give the same cameras. Costs some 3 s of one
core for 17 frames of 64x96. Needs pycolmap, and runs it in a
process of its own (`colmap_worker.py` says why).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from anchorweave.evaluation.camera_estimate import EstimatedCameras, EstimationConfig
from anchorweave.geometry.cameras import Cameras

WORKER = Path(__file__).with_name("colmap_worker.py")
# Of what it said when it failed.
SHOWN_LINES = 5


class MissingPycolmapError(ValueError):
    """pycolmap is not installed; the message says how to install it."""


def pycolmap_version() -> str:
    """Of the package.

    Raises:
        MissingPycolmapError: it is not there.
    """
    if find_spec("pycolmap") is None:
        raise MissingPycolmapError(
            "cameras are estimated by pycolmap, which is not there; pip install -r requirements.txt"
        )
    return version("pycolmap")


def estimate_cameras(
    video: Float[Tensor, "T 3 H W"], cameras: Cameras, config: EstimationConfig
) -> EstimatedCameras:
    """Structure from motion over the frames of one video.

    Args:
        video: colours in [0, 1].
        cameras: of which intrinsics and size are taken, no pose.
        config: how.

    Raises:
        MissingPycolmapError: no pycolmap.
        ValueError: cameras of other frames than these.
        RuntimeError: pycolmap failed otherwise than by finding nothing.
    """
    used = pycolmap_version()
    if len(cameras) != len(video) or cameras.size != tuple(video.shape[-2:]):
        raise ValueError(
            f"a video of {len(video)} frames of {list(video.shape[-2:])} does not go with "
            f"{len(cameras)} cameras of images of {list(cameras.size)}"
        )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pinholes = _write_images(video, cameras, config, folder / "images")
        options = {**asdict(config), "frames": len(video), "pinholes": pinholes}
        (folder / "options.json").write_text(json.dumps(options))
        done = subprocess.run(
            [sys.executable, str(WORKER), name], capture_output=True, text=True, check=False
        )
        if done.returncode:
            last_lines = "\n".join(done.stderr.strip().splitlines()[-SHOWN_LINES:])
            raise RuntimeError(f"pycolmap {used} ended with {done.returncode}:\n{last_lines}")
        found = json.loads((folder / "found.json").read_text())
    # What cannot be read is passed over there, and would count as a fault of the video here.
    if found["read"] != len(video):
        raise RuntimeError(
            f"pycolmap {used} read {found['read']} of the {len(video)} frames that were written "
            "for it; please report this"
        )
    places, registered = known_matrices(found["c2w"], torch.eye(4)[:3])
    c2w = torch.eye(4, dtype=torch.float64).repeat(len(video), 1, 1)
    c2w[:, :3] = places
    return EstimatedCameras(c2w, registered, *known_matrices(found["turns"], torch.eye(3)))


def known_matrices(listed: list, unknown: Tensor) -> tuple[Tensor, Tensor]:
    """Matrices of a list in which some are null: `unknown` in their place, and which are known."""
    known = torch.tensor([m is not None for m in listed], dtype=torch.bool)
    filled = [unknown.tolist() if m is None else m for m in listed]
    return torch.tensor(filled, dtype=torch.float64).reshape(-1, *unknown.shape), known


def _write_images(
    video: Tensor, cameras: Cameras, config: EstimationConfig, folder: Path
) -> dict[str, list[str]]:
    """Write the frames, enlarged where they are small. Returns the files of each pinhole."""
    folder.mkdir()
    height, width = cameras.size
    larger = max(1.0, config.shorter_side / min(height, width))
    size = (round(larger * height), round(larger * width))
    names: dict[str, list[str]] = {}
    for number, (frame, K) in enumerate(zip(video, cameras.resized(size).K, strict=True)):
        image = (frame.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
        resized = Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC)
        name = f"{number:06d}.bmp"
        resized.save(folder / name)
        pinhole = ",".join(repr(K[at].item()) for at in ((0, 0), (1, 1), (0, 2), (1, 2)))
        names.setdefault(pinhole, []).append(name)
    return names
