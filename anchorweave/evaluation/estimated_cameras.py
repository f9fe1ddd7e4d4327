"""Estimates a video's cameras from its frames by structure from motion (COLMAP via pycolmap).

Features are SIFT; intrinsics are known and fixed. Poses need surfaces that are consistent across
views, and a translating camera: if frames contradict each other, or the camera is static or only
rotates, few or no frames can be registered, which is a valid result (`EstimatedCameras.failed`).
The rotation between consecutive frames is estimated separately, from the two frames alone, and
works for static or rotating cameras: a frozen video has no rotation.

Runs in one thread with a fixed seed, so it is deterministic. Takes about 3 s on one core for 17
frames of 64x96. Runs pycolmap in a separate process (see `colmap_worker.py`).
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

from anchorweave.eight_bit import to_image
from anchorweave.evaluation.camera_estimate import EstimatedCameras, EstimationConfig
from anchorweave.geometry.cameras import Cameras

WORKER = Path(__file__).with_name("colmap_worker.py")
# Number of output lines shown when it fails.
SHOWN_LINES = 5


class MissingPycolmapError(ValueError):
    """pycolmap is not installed; the message says how to install it."""


def pycolmap_version() -> str:
    """The version of the package.

    Raises:
        MissingPycolmapError: it is not installed.
    """
    if find_spec("pycolmap") is None:
        raise MissingPycolmapError(
            "cameras are estimated by pycolmap, which is missing; pip install -r requirements.txt"
        )
    return version("pycolmap")


def estimate_cameras(
    video: Float[Tensor, "T 3 H W"], cameras: Cameras, config: EstimationConfig
) -> EstimatedCameras:
    """Structure from motion on the frames of one video.

    Args:
        video: colours in [0, 1].
        cameras: provide intrinsics and size; poses are ignored.
        config: options.

    Raises:
        MissingPycolmapError: pycolmap is not installed.
        ValueError: video and cameras do not match.
        RuntimeError: pycolmap failed for any reason other than finding nothing.
    """
    used = pycolmap_version()
    if len(cameras) != len(video) or cameras.size != tuple(video.shape[-2:]):
        raise ValueError(
            f"a video of {len(video)} frames of {list(video.shape[-2:])} does not match "
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
        results = json.loads((folder / "found.json").read_text())
    # The worker skips unreadable images, which here would look like a fault of the video.
    if results["read"] != len(video):
        raise RuntimeError(
            f"pycolmap {used} read {results['read']} of the {len(video)} frames that were written "
            "for it; please report this"
        )
    places, registered = known_matrices(results["c2w"], torch.eye(4)[:3])
    c2w = torch.eye(4, dtype=torch.float64).repeat(len(video), 1, 1)
    c2w[:, :3] = places
    return EstimatedCameras(c2w, registered, *known_matrices(results["turns"], torch.eye(3)))


def known_matrices(listed: list, unknown: Tensor) -> tuple[Tensor, Tensor]:
    """Matrices from a list with nulls, which become `unknown`; and which of them are known."""
    mask = torch.tensor([m is not None for m in listed], dtype=torch.bool)
    filled = [unknown.tolist() if m is None else m for m in listed]
    return torch.tensor(filled, dtype=torch.float64).reshape(-1, *unknown.shape), mask


def _write_images(
    video: Tensor, cameras: Cameras, config: EstimationConfig, folder: Path
) -> dict[str, list[str]]:
    """Writes the frames, upscaled if small. Returns the files per pinhole."""
    folder.mkdir()
    height, width = cameras.size
    larger = max(1.0, config.shorter_side / min(height, width))
    size = (round(larger * height), round(larger * width))
    names: dict[str, list[str]] = {}
    for number, (frame, K) in enumerate(zip(video, cameras.resized(size).K, strict=True)):
        resized = Image.fromarray(to_image(frame)).resize(size[::-1], Image.Resampling.BICUBIC)
        name = f"{number:06d}.bmp"
        resized.save(folder / name)
        pinhole = ",".join(repr(K[at].item()) for at in ((0, 0), (1, 1), (0, 2), (1, 2)))
        names.setdefault(pinhole, []).append(name)
    return names
